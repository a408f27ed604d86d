import { readdir } from "node:fs/promises";
import { CheckError, UsageError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { RunSettings } from "./analyse.ts";
import { isConverted, openConverted } from "./converted-directory.ts";
import type { Manifest, ManifestTensor } from "./manifest.ts";
import { isUnfinished } from "./output-directory.ts";
import type { HeaderRules, PlanOptions, TensorScan } from "./plan.ts";
import { planConversion } from "./plan.ts";
import { refuseDifference } from "./run-record.ts";
import type { Source } from "./source.ts";
import { verifyDirectory } from "./verify.ts";

/**
 * What `--resume` finds: a finished directory is checked with `verify --quick` and its manifest returned; one that
 * is absent, empty or unfinished gives undefined.
 *
 * @throws UsageError when it is another conversion's, or not nestedfp's at all; CheckError when it is damaged
 */
export async function finishedEarlier(
  output: string,
  source: Source,
  rules: HeaderRules,
  options: PlanOptions,
  tool: { readonly version: string },
  settings: RunSettings,
): Promise<Manifest | undefined> {
  if (await isUnfinished(output)) return undefined;
  if (!(await isConverted(output))) {
    const first = (await readdir(output).catch(() => []))[0];
    if (first === undefined) return undefined;
    throw new UsageError(`${quote(output)} holds ${quote(first)}, but no conversion to resume`, {
      hint: "choose another -o, or replace it with --force",
    });
  }
  const { manifest } = await openConverted(output);
  refuseDifference(output, "nestedfp", manifest.tool.version, tool.version);
  refuseOtherSource(output, manifest, source);
  refuseOtherDecisions(output, manifest, rules, options);
  const { problems } = await verifyDirectory(output, { level: "quick" }, settings);
  const first = problems[0];
  if (first === undefined) return manifest;
  throw new CheckError(`${quote(output)} was finished, but ${quote(first.file)}: ${first.message}`, {
    hint: "convert again with --force",
  });
}

function refuseOtherSource(output: string, manifest: Manifest, source: Source): void {
  const now = source.checkpoint.shards.map(({ name, size }) => ({ file: name, size }));
  const written = manifest.source.files.map(({ path, size }) => ({ file: path, size }));
  refuseDifference(output, "the source files", written, now);
  const tensorsOf = (
    tensors: readonly { name: string; dtype: string; shape: readonly number[] }[],
  ): string[] => tensors.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape}]`);
  const before = new Set(tensorsOf(manifest.tensors));
  const other = tensorsOf(source.tensors).find((tensor) => !before.has(tensor));
  refuseDifference(output, "the tensors", undefined, other);
}

/** Other options are welcome as long as they decide the same: the output would be the same, byte for byte. */
function refuseOtherDecisions(
  output: string,
  manifest: Manifest,
  rules: HeaderRules,
  options: PlanOptions,
): void {
  const byName = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
  const scanOf = (name: string): TensorScan | undefined => {
    const tensor = byName.get(name);
    return tensor && scanFrom(tensor);
  };
  const plan = planConversion(manifest.tensors, scanOf, rules, options);
  for (const { name, reason, patches } of manifest.tensors) {
    const decided = plan.tensors.get(name);
    refuseDifference(output, `tensor ${quote(name)} decided as`, reason, decided?.reason ?? null);
    refuseDifference(output, `patches of ${quote(name)}`, patches, decided?.patches);
  }
}

function scanFrom(tensor: ManifestTensor): TensorScan {
  return {
    maxAbs: tensor.reason === "nonfinite" ? Number.NaN : (tensor.max_abs ?? 0),
    maxShift: tensor.max_shift,
    inexact: tensor.inexact,
    underflow: tensor.underflow,
  };
}
