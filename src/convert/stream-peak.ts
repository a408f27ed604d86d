import { tensorWords } from "../safetensors/header.ts";
import { plannedPairs } from "./analyse.ts";
import type { PeakDisk } from "./dry-run.ts";
import { fusionKey } from "./fusion.ts";
import { patchIndexBytes, plannedTensor } from "./layout.ts";
import type { ConversionPlan } from "./plan.ts";
import type { ShardView } from "./source.ts";
import { chooseSourceRoot } from "./source-root.ts";
import type { RemoteSource } from "./stream.ts";

// Of a tensor in the manifest, SHA256SUMS and the records of a run; measured on the fixtures, rounded up.
const recordBytes = 2048;

/**
 * What a streamed conversion holds on disk at most: the output, the largest source shard, and, when a fusion group
 * spans shards, the largest pair that may be written a second time beside the first.
 *
 * @param plan by the headers: what they split may yet stay whole, which takes as many bytes or fewer
 * @param maxPatches share of the words of a split tensor that may need a patch
 */
export function streamPeak(
  { shards, origin, index }: Pick<RemoteSource, "shards" | "origin" | "index">,
  plan: ConversionPlan,
  maxPatches: number,
): PeakDisk {
  const patches = shards.map(({ header }) => mostPatchBytes(header, plan, maxPatches));
  const pairs = plannedPairs(shards, plan).map(({ upper, lower }, i) => upper + lower + (patches[i] ?? 0));
  const spanning = spanningShards(shards, plan);
  const root = new Set(
    chooseSourceRoot(
      { shards, index },
      origin.files.map(({ path }) => path),
    ).files,
  );
  const beside = origin.files.reduce((sum, { path, size }) => sum + (root.has(path) ? size : 0), 0);
  const records = shards
    .flatMap(({ header }) => header.tensors)
    .reduce((sum, { shape }) => sum + recordBytes + 2 * (shape[0] ?? 0), 65_536);
  // The files beside the shards are fetched to the work folder and copied from there.
  const output = pairs.reduce((sum, bytes) => sum + bytes, 0) + 2 * beside + records;
  const source = shards.reduce((most, { size }) => Math.max(most, size), 0);
  const rewrite = pairs.reduce((most, bytes, i) => (spanning.has(i) ? Math.max(most, bytes) : most), 0);
  return { output, source, rewrite, cache: 0, total: output + source + rewrite };
}

/** Bytes of the patch lists of a shard if every split tensor had as many as it may; their header entries included. */
function mostPatchBytes({ tensors }: ShardView["header"], plan: ConversionPlan, maxPatches: number): number {
  return tensors
    .filter(({ name }) => maxPatches > 0 && plannedTensor(plan, name).action === "nest")
    .reduce(
      (sum, info) =>
        sum + Math.floor(maxPatches * tensorWords(info.shape)) * (patchIndexBytes(info) + 2) + 4096,
      0,
    );
}

/** Shards with a member of a fusion group that a later shard may break. */
function spanningShards(shards: readonly ShardView[], plan: ConversionPlan): ReadonlySet<number> {
  const shardsOf = new Map<string, Set<number>>();
  for (const [index, { header }] of shards.entries()) {
    for (const { name } of header.tensors) {
      const key = fusionKey(name);
      if (key === undefined || plannedTensor(plan, name).action === "keep") continue;
      shardsOf.set(key, (shardsOf.get(key) ?? new Set()).add(index));
    }
  }
  return new Set([...shardsOf.values()].filter(({ size }) => size > 1).flatMap((indices) => [...indices]));
}
