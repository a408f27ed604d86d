import { UsageError } from "../errors.ts";
import { blocksPerWorker } from "./run-context.ts";

/** How a run spends its buffers: `workers` shards at a time, blocks of `blockBytes` source bytes. */
export type MemoryBudget = { readonly workers: number; readonly blockBytes: number };

const MiB = 1024 * 1024;
const largestBlock = 4 * MiB;
const smallestBlock = MiB / 4;

// Node itself, its code and the headers of a model of usual size; measured, see `npm run bench:convert`.
const processBytes = 96 * MiB;

/** `--max-memory` when it is not given. */
export const defaultMaxMemory = 256 * MiB;

/**
 * Chooses block size and parallelism so that the process stays below `maxMemory` bytes.
 *
 * @throws UsageError when not even one worker of the smallest block fits.
 */
export function budgetMemory(maxMemory: number, threads: number, shards: number): MemoryBudget {
  const forBuffers = maxMemory - processBytes;
  const wanted = Math.max(1, Math.min(threads, shards));
  for (let blockBytes = largestBlock; blockBytes >= smallestBlock; blockBytes /= 2) {
    const fit = Math.floor(forBuffers / (blockBytes * blocksPerWorker));
    // Fewer workers would idle cores; smaller blocks only cost a little more overhead per call.
    if (fit >= wanted || (fit >= 1 && blockBytes === smallestBlock)) {
      return { workers: Math.min(wanted, fit), blockBytes };
    }
  }
  const least = Math.ceil((processBytes + smallestBlock * blocksPerWorker) / MiB);
  throw new UsageError(
    `--max-memory ${Math.floor(maxMemory / MiB)} MiB is below the least possible, ${least} MiB.`,
    {
      hint: `Give at least ${least}M, or leave it out for ${defaultMaxMemory / MiB}M.`,
    },
  );
}

/** What a run with this budget is expected to hold at its peak, in bytes. */
export function peakMemory(budget: MemoryBudget): number {
  return processBytes + budget.workers * budget.blockBytes * blocksPerWorker;
}
