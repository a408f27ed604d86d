import type { Codec } from "../codec/codec.ts";
import { concurrently } from "../concurrency/concurrently.ts";
import type { Checkpoint } from "../safetensors/checkpoint.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import { serializeHeader } from "../safetensors/header.ts";
import type { Shard } from "../safetensors/reader.ts";
import type { Listener } from "./events.ts";
import { step } from "./events.ts";
import { layoutPair, plannedTensor } from "./layout.ts";
import type { Summary } from "./manifest.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import { pairMetadata } from "./pair-metadata.ts";
import type { ConversionPlan, HeaderRules, PlanOptions, Reason, TensorScan } from "./plan.ts";
import { planConversion } from "./plan.ts";
import { BlockBuffers } from "./run-context.ts";
import type { ScannedTensor, ShardScan } from "./scan.ts";
import { scanShard } from "./scan.ts";

/** How a run is carried out, as opposed to what it makes. */
export type RunSettings = {
  readonly codec: Codec;
  readonly budget: MemoryBudget;
  readonly signal: AbortSignal;
  readonly listener: Listener;
};

/** Where scans of an earlier, interrupted run are kept. */
export type ScanCache = {
  scanOf(shard: Shard, index: number): Promise<ShardScan | undefined>;
  keepScan(shard: Shard, index: number, scan: ShardScan): Promise<void>;
};

/** Scans all shards, as many at a time as the budget allows. */
export async function scanCheckpoint(
  checkpoint: Checkpoint,
  rules: HeaderRules,
  settings: RunSettings,
  cache?: ScanCache,
): Promise<ShardScan[]> {
  const { codec, budget, listener } = settings;
  return concurrently(checkpoint.shards, budget.workers, settings.signal, () => {
    const buffers = new BlockBuffers(budget.blockBytes);
    return (shard, index, signal) =>
      step(listener, "scan", shard.name, shard.size, async (onBytes) => {
        const kept = await cache?.scanOf(shard, index);
        if (kept) {
          onBytes(shard.size);
          return kept;
        }
        const isCandidate = (tensor: TensorInfo): boolean => rules(tensor) === undefined;
        const scan = await scanShard(shard, isCandidate, { codec, buffers, signal, onBytes });
        await cache?.keepScan(shard, index, scan);
        return scan;
      });
  });
}

/** Decides all tensors of scanned shards. @throws FormatError under `bf16: "refuse"` */
export function planScanned(
  tensors: readonly TensorInfo[],
  scans: readonly ShardScan[],
  rules: HeaderRules,
  options: PlanOptions,
): ConversionPlan {
  const byName = scannedTensors(scans);
  return planConversion(tensors, (name) => byName.get(name)?.floats, rules, options);
}

export function scannedTensors(scans: readonly ShardScan[]): ReadonlyMap<string, ScannedTensor> {
  return new Map(scans.flatMap((scan) => scan.tensors.map((tensor) => [tensor.name, tensor] as const)));
}

/** Sizes of the files that a plan writes, headers included. */
export function plannedBytes(shards: readonly Pick<Shard, "header">[], plan: ConversionPlan): PairBytes {
  const pairs = plannedPairs(shards, plan);
  return {
    upper: pairs.reduce((sum, { upper }) => sum + upper, 0),
    lower: pairs.reduce((sum, { lower }) => sum + lower, 0),
  };
}

type PairBytes = { readonly upper: number; readonly lower: number };

/** As {@link plannedBytes}, pair by pair. */
export function plannedPairs(shards: readonly Pick<Shard, "header">[], plan: ConversionPlan): PairBytes[] {
  return shards.map((shard, index) => {
    const layout = layoutPair(shard.header, (name) => plannedTensor(plan, name));
    const bytesOf = (role: "upper" | "lower"): number => {
      // A sha256 is always as long: the placeholder has the size of the real one.
      const metadata = pairMetadata(role, index, shards.length, "0".repeat(64));
      const { bytes, tensors } = serializeHeader(layout[role], metadata);
      return bytes.length + (tensors.at(-1)?.dataOffsets[1] ?? 0);
    };
    return { upper: bytesOf("upper"), lower: bytesOf("lower") };
  });
}

/** Counts and coverage (FORMAT.md §5), from decisions. */
export function summarise(
  tensors: readonly TensorInfo[],
  decisionOf: (name: string) => { readonly action: "nest" | "keep"; readonly reason: Reason | undefined },
): Summary {
  const reasons: Partial<Record<Reason, number>> = {};
  const summary = { split: 0, kept: 0, split_bytes: 0, kept_bytes: 0 };
  let splitWords = 0;
  let hopedWords = 0;
  for (const tensor of tensors) {
    const { action, reason } = decisionOf(tensor.name);
    const words = tensor.shape.reduce((product, n) => product * n, 1);
    const bytes = tensor.dataOffsets[1] - tensor.dataOffsets[0];
    if (reason !== undefined) reasons[reason] = (reasons[reason] ?? 0) + 1;
    if (action === "nest") {
      summary.split++;
      summary.split_bytes += bytes;
      splitWords += words;
      hopedWords += words;
    } else {
      summary.kept++;
      summary.kept_bytes += bytes;
      if (reason !== "not_linear" && reason !== "excluded") hopedWords += words;
    }
  }
  return { ...summary, coverage: hopedWords === 0 ? 0 : splitWords / hopedWords, reasons };
}

/** max |w| for JSON, which has no infinity. */
export function finiteMax(scan: TensorScan | undefined): number | null {
  return scan !== undefined && Number.isFinite(scan.maxAbs) ? scan.maxAbs : null;
}

/** Fused experts are most of such a model, so that they stay whole should not pass unseen. */
export function warnOfFusedExperts(
  tensors: readonly TensorInfo[],
  plan: ConversionPlan,
  listener: Listener,
): void {
  const sum = (list: readonly TensorInfo[]): number =>
    list.reduce((bytes, { dataOffsets }) => bytes + dataOffsets[1] - dataOffsets[0], 0);
  const fused = tensors.filter(({ name }) => plannedTensor(plan, name).reason === "unsupported_rank");
  if (fused.length === 0) return;
  const share = ((100 * sum(fused)) / sum(tensors)).toFixed(1);
  listener({
    type: "warning",
    message: `${fused.length} fused expert tensors (${share} % of all bytes) stay 16-bit: format 1.0 splits matrices only`,
  });
}
