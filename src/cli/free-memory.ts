import { freemem } from "node:os";

/** What the system says about memory, in bytes. */
export type MemoryFigures = {
  /** Of the whole machine, caches that it would give up included. */
  readonly free: number;
  /** Of the container or control group; 0 or more than the machine has where there is none. */
  readonly limit: number;
  /** Of this process. */
  readonly resident: number;
};

/**
 * Bytes that this process may still take. Of a container's limit only what this process has is subtracted, as the
 * group's own count (process.availableMemory) includes the cache of every file that was read, which it would give up.
 */
export function freeMemory(
  { free, limit, resident }: MemoryFigures = {
    free: freemem(),
    limit: process.constrainedMemory(),
    resident: process.memoryUsage.rss(),
  },
): number {
  return limit > 0 ? Math.max(0, Math.min(free, limit - resident)) : free;
}
