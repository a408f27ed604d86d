import assert from "node:assert/strict";
import { test } from "node:test";
import { BytePool } from "../../src/model/byte-pool.ts";

test("an array that was given back is the next one of its length, and only once", () => {
  const pool = new BytePool();
  const first = pool.take(10);
  assert.equal(first.length, 10);
  pool.give(first);
  assert.notEqual(pool.take(11), first);
  assert.equal(pool.take(10), first);
  assert.notEqual(pool.take(10), first);
});
