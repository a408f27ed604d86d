import { readdir } from "node:fs/promises";
import { freeBytes } from "../safetensors/disk-space.ts";
import { quote } from "../safetensors/quote.ts";
import type { RunSettings } from "./analyse.ts";
import {
  finiteMax,
  plannedBytes,
  planScanned,
  scanCheckpoint,
  scannedTensors,
  summarise,
  warnOfFusedExperts,
} from "./analyse.ts";
import type { Listener } from "./events.ts";
import { plannedTensor, refuseCollisions } from "./layout.ts";
import type { Summary } from "./manifest.ts";
import { peakMemory } from "./memory-budget.ts";
import type { PlanOptions, Reason } from "./plan.ts";
import { headerRules } from "./plan.ts";
import { openSource, refuseOverlap, type SourceLocation } from "./source.ts";
import { warnOfUnreadable } from "./source-root.ts";

/** What `--dry-run` says; nothing is written. */
export type DryRunResult = {
  /** null without -o. */
  readonly output: string | null;
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly max_abs: number | null;
    readonly action: "nest" | "keep";
    readonly reason: Reason | null;
    /** null where weights were not read. */
    readonly row_shift_max: number | null;
    readonly patches: number | null;
  }[];
  /** `headers` when no weights were read: a decision to split may not stand, and patches come on top. */
  readonly decided_by: "headers" | "scan";
  readonly split: number;
  readonly kept: number;
  readonly coverage: number;
  readonly restorable: boolean;
  readonly reasons: Summary["reasons"];
  readonly bytes: { readonly source: number; readonly upper: number; readonly lower: number };
  /** Bytes this run would hold at most. */
  readonly peak_memory: number;
  /** Bytes that a conversion from the Hub holds on disk at most, and what for; null for a source on disk. */
  readonly peak_disk: PeakDisk | null;
  /** Bytes free where the output would go; null where the system does not say. */
  readonly free_disk: number | null;
};

export type PeakDisk = {
  /** All files of the output. */
  readonly output: number;
  /** With --stream: the largest source shard, which is dropped once it is split. */
  readonly source: number;
  /** With --stream: the largest pair of a shard that may have to be written a second time. */
  readonly rewrite: number;
  /** Without --stream: all source files, which stay in the cache. */
  readonly cache: number;
  readonly total: number;
};

/**
 * Scans and plans, and writes nothing.
 *
 * @param output where a conversion would go; undefined for the current directory's disk
 * @throws FormatError, UsageError
 */
export async function dryRun(
  location: SourceLocation,
  output: string | undefined,
  options: PlanOptions,
  settings: RunSettings,
): Promise<DryRunResult> {
  const source = await openSource(location);
  try {
    if (output !== undefined) {
      await refuseOverlap(source.checkpoint.root, output);
      await warnOfContents(output, settings.listener);
    }
    warnOfUnreadable(source.root, settings.listener);
    const { tensors, checkpoint } = source;
    const rules = headerRules(tensors, options);
    const sourceSize = checkpoint.shards.reduce((sum, shard) => sum + shard.size, 0);
    settings.listener({ type: "total", bytes: sourceSize });
    const scans = await scanCheckpoint(checkpoint, rules, settings);
    const plan = planScanned(tensors, scans, rules, options);
    refuseCollisions(tensors, plan);
    warnOfFusedExperts(tensors, plan, settings.listener);
    const scanned = scannedTensors(scans);
    const { split, kept, coverage, reasons } = summarise(tensors, (name) => plannedTensor(plan, name));
    return {
      output: output ?? null,
      tensors: tensors.map(({ name, dtype, shape }) => {
        const { action, reason, patches } = plannedTensor(plan, name);
        const scan = scanned.get(name)?.floats;
        const shift = action === "nest" ? (scan?.maxShift ?? 0) : 0;
        return {
          name,
          dtype,
          shape,
          max_abs: finiteMax(scan),
          action,
          reason: reason ?? null,
          row_shift_max: shift,
          patches,
        };
      }),
      split,
      kept,
      coverage,
      restorable: plan.restorable,
      reasons,
      decided_by: "scan",
      peak_disk: null,
      bytes: { source: sourceSize, ...plannedBytes(checkpoint.shards, plan) },
      peak_memory: peakMemory(settings.budget),
      free_disk: (await freeBytes(output ?? ".")) ?? null,
    };
  } finally {
    await source.checkpoint.close();
  }
}

export async function warnOfContents(output: string, listener: Listener): Promise<void> {
  const [first] = await readdir(output).catch(() => []);
  if (first === undefined) return;
  const message = `${quote(output)} is not empty (it holds ${quote(first)}): a conversion needs --resume or --force`;
  listener({ type: "warning", message });
}
