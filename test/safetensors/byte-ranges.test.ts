import assert from "node:assert/strict";
import { test } from "node:test";

import { ByteRanges } from "../../src/safetensors/byte-ranges.ts";
import { Prng } from "./prng.ts";

test("agrees with one flag a byte on random ranges", () => {
  const random = new Prng(4);
  for (let round = 0; round < 300; round++) {
    const ranges = new ByteRanges();
    const flags = new Array<boolean>(40).fill(false);
    for (let step = 0; step < 40; step++) {
      const start = random.below(40);
      const end = start + random.below(Math.min(8, 41 - start));
      const free = !flags.slice(start, end).includes(true);
      assert.equal(ranges.add(start, end), free);
      if (free) flags.fill(true, start, end);
      const from = random.below(40);
      const missing = flags.indexOf(false, from);
      assert.equal(ranges.firstMissing(from), missing === -1 ? 40 : missing);
      assert.equal(ranges.covers(start, end), !flags.slice(start, end).includes(false));
    }
  }
});
