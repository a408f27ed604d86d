import { FormatError } from "../errors.ts";
import type { JsonValue } from "../safetensors/json.ts";
import type { NamedTensor } from "./linear-names.ts";
import { isLinearName } from "./linear-names.ts";

const advice: Readonly<Record<string, string>> = {
  gptq: "convert the 16-bit model it was made from",
  awq: "convert the 16-bit model it was made from",
  bitsandbytes: "convert the 16-bit model it was made from; bitsandbytes checkpoints have lost it",
  fp8: "an FP8 checkpoint has lost the 16-bit words; convert the 16-bit model it was made from",
  mxfp4: "convert the 16-bit model; this one holds 4-bit blocks",
  nestedfp: "`nestedfp restore DIR -o OUT` gives the source back; convert that",
};

const markerFiles: Readonly<Record<string, string>> = {
  "hf_quant_config.json": "modelopt",
  "quantize_config.json": "gptq",
  "quant_config.json": "awq",
};

/**
 * Refuses a checkpoint whose linear weights are not 16-bit any more.
 *
 * @throws FormatError that names the method, where it shows, and what to do instead.
 */
export function refuseQuantised(
  label: string,
  config: ReadonlyMap<string, JsonValue>,
  rootFiles: readonly string[],
  tensors: readonly NamedTensor[],
): void {
  const found = inConfig(config) ?? inFiles(rootFiles) ?? inTensors(tensors);
  if (found === undefined) return;
  throw new FormatError(`${label} is already quantised with ${found.method} (${found.evidence})`, {
    hint: advice[found.method] ?? "convert the 16-bit model it was made from",
  });
}

type Evidence = { readonly method: string; readonly evidence: string };

function inConfig(config: ReadonlyMap<string, JsonValue>): Evidence | undefined {
  for (const key of ["quantization_config", "compression_config"]) {
    for (const scope of [config, config.get("text_config")]) {
      const value = scope instanceof Map ? scope.get(key) : undefined;
      if (!(value instanceof Map)) continue;
      const method = value.get("quant_method");
      const name = value.has("nestedfp")
        ? "nestedfp"
        : typeof method === "string"
          ? method
          : bitsAndBytes(value);
      return { method: name, evidence: `${key} in config.json` };
    }
  }
  return undefined;
}

// Older bitsandbytes configurations carry no quant_method.
function bitsAndBytes(config: ReadonlyMap<string, JsonValue>): string {
  return config.has("load_in_8bit") || config.has("load_in_4bit") ? "bitsandbytes" : "an unnamed method";
}

function inFiles(rootFiles: readonly string[]): Evidence | undefined {
  const file = rootFiles.find((name) => Object.hasOwn(markerFiles, name));
  return file === undefined ? undefined : { method: markerFiles[file] ?? "", evidence: file };
}

function inTensors(tensors: readonly NamedTensor[]): Evidence | undefined {
  for (const { name, dtype } of tensors) {
    const method = methodOf(name, dtype);
    if (method !== undefined) return { method, evidence: `tensor ${JSON.stringify(name)} is ${dtype}` };
  }
  return undefined;
}

function methodOf(name: string, dtype: string): string | undefined {
  if (name.endsWith(".qweight") || name.endsWith(".qzeros")) return "gptq or awq";
  if (/\.weight\.(quant_state\.|absmax$|quant_map$)/.test(name) || name.endsWith(".weight_format"))
    return "bitsandbytes";
  if (dtype === "U8" && /_(blocks|scales)$/.test(name)) return "mxfp4";
  if (dtype === "U8" && name.endsWith(".weight_lower")) return "nestedfp";
  if (dtype.startsWith("F8_") && isLinearName(name)) return "fp8";
  if (dtype === "I8" && isLinearName(name)) return "bitsandbytes";
  return undefined;
}
