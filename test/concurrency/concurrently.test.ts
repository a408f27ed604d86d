import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { concurrently } from "../../src/concurrency/concurrently.ts";
import { Prng } from "../safetensors/prng.ts";

const never = new AbortController().signal;

test("results come in the order of the items, whoever is done first", async () => {
  const prng = new Prng(3);
  for (const limit of [1, 2, 5, 100]) {
    let atWork = 0;
    let most = 0;
    let workers = 0;
    const results = await concurrently([..."abcdefghij"], limit, never, () => {
      workers++;
      return async (item, index) => {
        most = Math.max(most, ++atWork);
        for (let turns = prng.below(5); turns >= 0; turns--) await nextTurn();
        atWork--;
        return `${index}${item}`;
      };
    });
    assert.deepEqual(
      results,
      [..."abcdefghij"].map((item, i) => `${i}${item}`),
    );
    assert.ok(most <= limit && workers === Math.min(limit, 10), `${most} of ${workers} at a time`);
  }
});

test("no items, no workers", async () => {
  assert.deepEqual(await concurrently([], 3, never, () => assert.fail("hired")), []);
});

test("the first failure stops the others, is waited for, and is thrown", async () => {
  const log: string[] = [];
  const run = concurrently(["fails", "stops", "never begun"], 2, never, () => async (item, _, signal) => {
    if (item === "fails") throw new Error("first");
    while (!signal.aborted) await nextTurn();
    log.push(item);
    throw new Error("second");
  });
  await assert.rejects(run, /^Error: first$/);
  assert.deepEqual(log, ["stops"]);
});

test("a worker that cannot be hired is a failure like any other", async () => {
  let hired = 0;
  let stopped = false;
  const run = concurrently([1, 2, 3], 2, never, () => {
    if (hired++ > 0) throw new RangeError("no memory");
    return async (_, __, signal) => {
      while (!signal.aborted) await nextTurn();
      stopped = true;
    };
  });
  await assert.rejects(run, /no memory/);
  assert.ok(stopped);
});

test("aborting from outside ends it with the reason, also before it begins", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  let begun = 0;
  const work = () => async () => {
    begun++;
    controller.abort(reason);
  };
  await assert.rejects(concurrently([1, 2, 3], 1, controller.signal, work), reason);
  await assert.rejects(concurrently([1, 2, 3], 1, controller.signal, work), reason);
  assert.equal(begun, 1);
});
