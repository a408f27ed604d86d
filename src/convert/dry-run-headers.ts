import { freeBytes } from "../safetensors/disk-space.ts";
import { plannedBytes, summarise } from "./analyse.ts";
import type { DryRunResult, PeakDisk } from "./dry-run.ts";
import { warnOfContents } from "./dry-run.ts";
import type { Listener } from "./events.ts";
import { plannedTensor, refuseCollisions } from "./layout.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import { peakMemory } from "./memory-budget.ts";
import type { PlanOptions } from "./plan.ts";
import { headerRules, planByHeaders } from "./plan.ts";
import { viewSource } from "./source.ts";
import { chooseSourceRoot } from "./source-root.ts";
import type { RemoteSource } from "./stream.ts";
import { streamPeak } from "./stream-peak.ts";

/**
 * What headers and config.json tell of a conversion from the Hub; nothing is written and no weights are read.
 *
 * @param stream whether shards would be fetched one at a time, or all into the cache
 * @throws FormatError, UsageError
 */
export async function dryRunHeaders(
  remote: RemoteSource,
  output: string | undefined,
  options: PlanOptions,
  stream: boolean,
  { budget, listener }: { readonly budget: MemoryBudget; readonly listener: Listener },
): Promise<DryRunResult> {
  if (output !== undefined) await warnOfContents(output, listener);
  const { shards, origin, index, read } = remote;
  const label = `${origin.repo}@${origin.revision}`;
  // What a conversion would refuse.
  const { tensors } = await viewSource({ root: "", index, shards }, label, origin, read);
  const plan = planByHeaders(tensors, headerRules(tensors, options), options);
  refuseCollisions(tensors, plan);
  const { split, kept, coverage, reasons } = summarise(tensors, (name) => plannedTensor(plan, name));
  const patches = options.bf16 === "patch" ? options.maxPatches : 0;
  const streamed = streamPeak(remote, plan, patches);
  return {
    output: output ?? null,
    tensors: tensors.map(({ name, dtype, shape }) => {
      const { action, reason } = plannedTensor(plan, name);
      const unknown = { max_abs: null, row_shift_max: null, patches: null };
      return { name, dtype, shape, action, reason: reason ?? null, ...unknown };
    }),
    decided_by: "headers",
    split,
    kept,
    coverage,
    restorable: plan.restorable && options.bf16 !== "lossy",
    reasons,
    bytes: { source: shards.reduce((sum, { size }) => sum + size, 0), ...plannedBytes(shards, plan) },
    peak_memory: peakMemory(budget),
    peak_disk: stream ? streamed : cachedPeak(remote, streamed),
    free_disk: (await freeBytes(output ?? ".")) ?? null,
  };
}

/** The output, and every file that is needed for it, which stays in the cache. */
function cachedPeak({ shards, origin, index }: RemoteSource, { output }: PeakDisk): PeakDisk {
  const paths = origin.files.map(({ path }) => path);
  const needed = new Set([...chooseSourceRoot({ shards, index }, paths).files, index?.name]);
  for (const { name } of shards) needed.add(name);
  const cache = origin.files.reduce((sum, { path, size }) => sum + (needed.has(path) ? size : 0), 0);
  return { output, source: 0, rewrite: 0, cache, total: output + cache };
}
