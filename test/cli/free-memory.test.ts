import assert from "node:assert/strict";
import { test } from "node:test";
import { freeMemory } from "../../src/cli/free-memory.ts";

test("free memory is the machine's, or what the container's limit leaves", () => {
  assert.equal(freeMemory({ free: 100, limit: 2 ** 64, resident: 5 }), 100);
  assert.equal(freeMemory({ free: 100, limit: 0, resident: 5 }), 100);
  assert.equal(freeMemory({ free: 100, limit: 60, resident: 5 }), 55);
  assert.equal(freeMemory({ free: 30, limit: 60, resident: 5 }), 30);
  assert.equal(freeMemory({ free: 30, limit: 4, resident: 5 }), 0);
  assert.ok(freeMemory() > 2 ** 20);
});
