import { compareUtf8 } from "../safetensors/compare-utf8.ts";
import type { NamedTensor } from "./linear-names.ts";
import { isFusedExperts, moduleOf } from "./linear-names.ts";

export const formatVersion = "1.0";

/** Names of modules that stock engines must not treat as FP8 (FORMAT.md §6), sorted. */
export function ignoreList(tensors: readonly NamedTensor[], isSplit: (name: string) => boolean): string[] {
  const ignored = new Set(["lm_head"]);
  for (const tensor of tensors) {
    const module = moduleOf(tensor.name);
    if (isFusedExperts(tensor)) ignored.add(tensor.name.slice(0, tensor.name.lastIndexOf(".")));
    else if (tensor.shape.length === 2 && module !== undefined && !isSplit(tensor.name)) ignored.add(module);
  }
  return [...ignored].sort(compareUtf8);
}

/**
 * `quantization_config` as compressed-tensors `float-quantized` reads it. Every key is wanted and no other: stock
 * parsers forbid unknown ones inside the group.
 */
export function quantizationConfig(ignore: readonly string[]): object {
  const shared = { num_bits: 8, type: "float", symmetric: true, group_size: null };
  const weights = {
    ...shared,
    strategy: "channel",
    block_structure: null,
    dynamic: false,
    actorder: null,
    observer: "minmax",
    observer_kwargs: {},
  };
  const activations = { ...weights, strategy: "token", dynamic: true, observer: null };
  return {
    config_groups: {
      group_0: {
        input_activations: activations,
        output_activations: null,
        targets: ["Linear"],
        weights,
      },
    },
    format: "float-quantized",
    global_compression_ratio: null,
    ignore,
    kv_cache_scheme: null,
    nestedfp: { format_version: formatVersion, manifest: "nestedfp/manifest.json" },
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
  };
}

/**
 * What would make a stock engine misread a directory (FORMAT.md §6): a 16-bit matrix missing from the ignore list
 * loads silently as garbage. Empty when all is well.
 *
 * @param written the tensors of all upper files
 */
export function quantizationMistakes(written: readonly NamedTensor[], ignore: readonly string[]): string[] {
  const ignored = new Set(ignore);
  const names = new Set(written.map((tensor) => tensor.name));
  const mistakes: string[] = [];
  for (const { name, dtype, shape } of written) {
    const module = moduleOf(name);
    if (name.endsWith(".weight_scale") && ignored.has(name.slice(0, -".weight_scale".length))) {
      mistakes.push(`${JSON.stringify(name)} has a scale, but its module is ignored`);
    }
    if (module === undefined) continue;
    if (dtype === "F8_E4M3" && !names.has(`${name}_scale`))
      mistakes.push(`${JSON.stringify(name)} has no scale`);
    if (dtype !== "F8_E4M3" && shape.length === 2 && !ignored.has(module)) {
      mistakes.push(`${JSON.stringify(name)} is ${dtype}, but its module is not ignored`);
    }
  }
  return mistakes;
}
