import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { budgetMemory, defaultMaxMemory, peakMemory } from "../../src/convert/memory-budget.ts";
import { MachineError, UsageError } from "../../src/errors.ts";
import { freeBytes, refuseFullDisk } from "../../src/safetensors/disk-space.ts";
import { scratchDirectory } from "./scratch.ts";

const MiB = 2 ** 20;

test("a budget stays below its memory and has a worker for every thread and shard that it can", () => {
  for (const memory of [98, 100, 128, 200, 256, 1024, 16_384]) {
    for (const threads of [1, 2, 5, 64, 1024]) {
      for (const shards of [0, 1, 3, 200]) {
        const budget = budgetMemory(memory * MiB, threads, shards);
        const what = `${memory} MiB, ${threads} threads, ${shards} shards: ${JSON.stringify(budget)}`;
        assert.ok(peakMemory(budget) <= memory * MiB, what);
        assert.ok(budget.workers >= 1 && budget.workers <= Math.max(1, Math.min(threads, shards)), what);
        assert.ok(Number.isInteger(Math.log2(budget.blockBytes)), what);
      }
    }
  }
});

test("more memory gives larger blocks, not fewer workers", () => {
  const [little, much] = [budgetMemory(128 * MiB, 8, 8), budgetMemory(2048 * MiB, 8, 8)];
  assert.deepEqual([little.workers, much.workers], [8, 8]);
  assert.ok(little.blockBytes < much.blockBytes);
  assert.equal(budgetMemory(defaultMaxMemory, 2, 4).blockBytes, much.blockBytes);
});

test("too little memory is refused with the least that would do", () => {
  assert.throws(
    () => budgetMemory(97 * MiB, 1, 1),
    (error) => {
      assert.ok(error instanceof UsageError);
      const least = Number(/least possible, (\d+) MiB/.exec(error.message)?.[1]);
      assert.equal(budgetMemory(least * MiB, 1, 1).workers, 1);
      return true;
    },
  );
});

test("a disk is asked for its free space, also where a directory will be", async (t) => {
  const directory = await scratchDirectory(t);
  const free = await freeBytes(join(directory, "not/there/yet"));
  assert.ok(free !== undefined && free > 0);
  await refuseFullDisk(directory, 0);
  await assert.rejects(refuseFullDisk(directory, 2 ** 60), (error) => {
    assert.ok(error instanceof MachineError);
    assert.match(error.message, /needs 1152921504606847000 bytes, and its file system has \d+ free/);
    return true;
  });
});
