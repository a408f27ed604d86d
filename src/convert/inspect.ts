import { join } from "node:path";
import { concurrently } from "../concurrency/concurrently.ts";
import type { Checkpoint } from "../safetensors/checkpoint.ts";
import { openCheckpoint } from "../safetensors/checkpoint.ts";
import type { Shard } from "../safetensors/reader.ts";
import type { RunSettings } from "./analyse.ts";
import { finiteMax, planScanned, scanCheckpoint, scannedTensors, summarise } from "./analyse.ts";
import type { ConvertedDirectory } from "./converted-directory.ts";
import { isConverted, openConverted, refuseUnconverted } from "./converted-directory.ts";
import { step } from "./events.ts";
import { plannedTensor } from "./layout.ts";
import type { Summary } from "./manifest.ts";
import { isUnfinished } from "./output-directory.ts";
import { openPair } from "./pair.ts";
import type { Piece } from "./pieces.ts";
import { oneAhead, piecesOf } from "./pieces.ts";
import type { ConversionPlan, PlanOptions, Reason } from "./plan.ts";
import { headerRules } from "./plan.ts";
import type { RebuiltPiece } from "./rebuild.ts";
import { rebuildSource } from "./rebuild.ts";
import type { RunContext } from "./run-context.ts";
import { BlockBuffers } from "./run-context.ts";
import { floatDtype } from "./scan.ts";

export type InspectedTensor = {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** null when it is not measured or not finite. */
  readonly max_abs: number | null;
  readonly action: "nest" | "keep";
  readonly reason?: Reason;
  /** null when it is not measured. */
  readonly row_shift_max: number | null;
  /** Of the FP8 view, in decibels; null for a kept tensor and where the view is exact. */
  readonly sqnr_db: number | null;
};

export type InspectResult = {
  readonly source: string;
  readonly converted: boolean;
  /** True when no weights were read: what depends on them is null, and a decision to split may not stand. */
  readonly headers_only: boolean;
  readonly tensors: readonly InspectedTensor[];
  readonly split: number;
  readonly kept: number;
  readonly coverage: number;
  readonly reasons: Summary["reasons"];
  readonly bytes: { readonly split: number; readonly kept: number };
};

/** Sums over a tensor: of w^2, and of the squared error of its FP8 view. */
type Noise = { signal: number; noise: number };

/**
 * Says what is in a checkpoint, or in a directory that was converted, and what a conversion with these options
 * would do or did. Reads all weights; writes nothing.
 */
export async function inspect(
  path: string,
  options: PlanOptions,
  settings: RunSettings,
): Promise<InspectResult> {
  if (await isConverted(path)) return inspectConverted(await openConverted(path), settings);
  // Else a first shard would pass for a whole checkpoint.
  if (await isUnfinished(path)) await refuseUnconverted(path);
  const checkpoint = await openCheckpoint(path);
  try {
    return await inspectSource(path, checkpoint, options, settings);
  } finally {
    await checkpoint.close();
  }
}

async function inspectSource(
  path: string,
  checkpoint: Checkpoint,
  options: PlanOptions,
  settings: RunSettings,
): Promise<InspectResult> {
  const tensors = checkpoint.shards.flatMap((shard) => shard.header.tensors);
  const rules = headerRules(tensors, options);
  const size = checkpoint.shards.reduce((sum, shard) => sum + shard.size, 0);
  settings.listener({ type: "total", bytes: 2 * size });
  const scans = await scanCheckpoint(checkpoint, rules, settings);
  const plan = planScanned(tensors, scans, rules, options);
  const scanned = scannedTensors(scans);
  const { codec, budget, listener } = settings;
  const noises = await concurrently(checkpoint.shards, budget.workers, settings.signal, () => {
    const buffers = new BlockBuffers(budget.blockBytes);
    return (shard, _, signal) =>
      step(listener, "split", shard.name, shard.size, (onBytes) =>
        noiseOfShard(shard, plan, (name) => scanned.get(name)?.shifts, { codec, buffers, signal, onBytes }),
      );
  });
  const noiseOf = new Map(noises.flatMap((shard) => [...shard]));
  const { split_bytes, kept_bytes, ...summary } = summarise(tensors, (name) => plannedTensor(plan, name));
  return {
    source: path,
    converted: false,
    headers_only: false,
    tensors: tensors.map(({ name, dtype, shape }) => {
      const { action, reason } = plannedTensor(plan, name);
      const scan = scanned.get(name)?.floats;
      return {
        name,
        dtype,
        shape,
        max_abs: finiteMax(scan),
        action,
        ...(reason && { reason }),
        row_shift_max: action === "nest" ? (scan?.maxShift ?? 0) : 0,
        sqnr_db: decibels(noiseOf.get(name)),
      };
    }),
    ...summary,
    bytes: { split: split_bytes, kept: kept_bytes },
  };
}

async function noiseOfShard(
  shard: Shard,
  plan: ConversionPlan,
  shiftsOf: (name: string) => Uint8Array | undefined,
  context: RunContext,
): Promise<ReadonlyMap<string, Noise>> {
  const { codec, buffers, signal, onBytes } = context;
  const noises = new Map<string, Noise>();
  for (const info of shard.header.tensors) {
    const dtype = floatDtype(info);
    if (dtype === undefined || plannedTensor(plan, info.name).action === "keep") continue;
    const total = { signal: 0, noise: 0 };
    const all = shiftsOf(info.name);
    const prepare = async (piece: Piece, slot: 0 | 1): Promise<Noise & { readonly bytes: number }> => {
      const { source, upper, lower } = buffers.slots[slot];
      const bytes = source.subarray(0, piece.byteLength);
      await shard.readTensor(info, piece.offset, bytes);
      const shifts = (all ?? buffers.noShifts).subarray(all ? piece.firstRow : 0).subarray(0, piece.rows);
      const [up, low] = [
        upper.subarray(0, piece.rows * piece.cols),
        lower.subarray(0, piece.rows * piece.cols),
      ];
      await codec.splitRows(bytes, dtype, piece.cols, shifts, up, low);
      return { ...(await codec.noiseOf(bytes, dtype, piece.cols, shifts, up)), bytes: bytes.length };
    };
    for await (const part of oneAhead(piecesOf(info, buffers.blockBytes), prepare, signal)) {
      total.signal += part.signal;
      total.noise += part.noise;
      onBytes(part.bytes);
    }
    noises.set(info.name, total);
  }
  return noises;
}

async function inspectConverted(
  { path, manifest }: ConvertedDirectory,
  settings: RunSettings,
): Promise<InspectResult> {
  settings.listener({
    type: "total",
    bytes: manifest.source.files.reduce((sum, file) => sum + file.size, 0),
  });
  const { codec, budget, listener } = settings;
  const noises = await concurrently(manifest.source.files, budget.workers, settings.signal, () => {
    const buffers = new BlockBuffers(budget.blockBytes);
    return (shard, _, signal) =>
      step(listener, "rebuild", shard.path, shard.size, async (onBytes) => {
        const pair = await openPair(join(path, shard.upper), join(path, shard.lower), shard.size);
        try {
          const shardNoises = new Map<string, Noise>();
          for await (const { piece, bytes, split } of rebuildSource(pair, { codec, buffers, signal })) {
            onBytes(bytes.length);
            if (split) await addNoise(shardNoises, piece, bytes, split, codec);
          }
          return shardNoises;
        } finally {
          await pair.close();
        }
      });
  });
  const noiseOf = new Map(noises.flatMap((shard) => [...shard]));
  const { split, kept, coverage, reasons, split_bytes, kept_bytes } = manifest.summary;
  return {
    source: path,
    converted: true,
    headers_only: false,
    tensors: manifest.tensors.map((tensor) => ({
      name: tensor.name,
      dtype: tensor.dtype,
      shape: tensor.shape,
      max_abs: tensor.max_abs,
      action: tensor.planes === null ? "keep" : "nest",
      ...(tensor.reason && { reason: tensor.reason }),
      row_shift_max: tensor.planes === null ? 0 : tensor.max_shift,
      sqnr_db: decibels(noiseOf.get(tensor.name)),
    })),
    split,
    kept,
    coverage,
    reasons,
    bytes: { split: split_bytes, kept: kept_bytes },
  };
}

async function addNoise(
  noises: Map<string, Noise>,
  piece: Piece,
  words: Uint8Array,
  split: NonNullable<RebuiltPiece["split"]>,
  codec: RunContext["codec"],
): Promise<void> {
  const part = await codec.noiseOf(words, split.dtype, piece.cols, split.shifts, split.upper);
  const sum = noises.get(piece.tensor.name) ?? { signal: 0, noise: 0 };
  noises.set(piece.tensor.name, { signal: sum.signal + part.signal, noise: sum.noise + part.noise });
}

/** 10 log10(signal / noise), to a thousandth; null where there is no noise. */
function decibels(noise: Noise | undefined): number | null {
  if (noise === undefined || noise.noise === 0 || noise.signal === 0) return null;
  return Math.round(10_000 * Math.log10(noise.signal / noise.noise)) / 1000;
}
