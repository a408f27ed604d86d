import { readdir } from "node:fs/promises";
import { CheckError, UsageError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { RunSettings } from "./analyse.ts";
import { checkAgainst } from "./check-against.ts";
import { isConverted, openConverted } from "./converted-directory.ts";
import type { Manifest, ManifestTensor } from "./manifest.ts";
import { isUnfinished } from "./output-directory.ts";
import type { HeaderRules, PlanOptions, TensorScan } from "./plan.ts";
import { planConversion } from "./plan.ts";
import { refuseDifference } from "./run-record.ts";
import type { Origin, SourceLocation } from "./source.ts";
import { verifyDirectory } from "./verify.ts";

/**
 * What `--resume` finds: a finished directory is compared with the source, checked with `verify --quick`, and its
 * manifest returned; one that is absent, empty or unfinished gives undefined.
 *
 * @throws UsageError when it is another conversion's, or not nestedfp's at all; CheckError when it is damaged
 */
export async function finishedEarlier(
  output: string,
  source: SourceLocation | { readonly origin: Origin },
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
  await refuseOtherSource(output, manifest, source, settings);
  refuseOtherDecisions(output, manifest, rules, options);
  const { problems } = await verifyDirectory(output, { level: "quick" }, settings);
  const first = problems[0];
  if (first === undefined) return manifest;
  throw new CheckError(`${quote(output)} was finished, but ${quote(first.file)}: ${first.message}`, {
    hint: "convert again with --force",
  });
}

/** @throws UsageError when any file of the source is not the one that the directory was made from. */
async function refuseOtherSource(
  output: string,
  manifest: Manifest,
  source: SourceLocation | { readonly origin: Origin },
  settings: RunSettings,
): Promise<void> {
  if (typeof source === "object" && !("path" in source)) {
    // A commit says it all.
    const { repo, revision } = source.origin;
    refuseDifference(output, "the repository", manifest.source.repo, repo);
    return refuseDifference(output, "the source revision", manifest.source.revision, revision);
  }
  const [first] = await checkAgainst({ path: output, manifest }, source, settings);
  if (first === undefined) return;
  throw new UsageError(
    `${quote(output)} was made from another source: ${quote(first.file)} ${first.message}`,
    {
      hint: "give the same source, or start again with --force",
    },
  );
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
