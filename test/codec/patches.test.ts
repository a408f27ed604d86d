import assert from "node:assert/strict";
import { test } from "node:test";

import type { Codec } from "../../src/codec/codec.ts";
import { referenceCodec } from "../../src/codec/reference-codec.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { testEach } from "./implementations.ts";
import { assertSameBytes } from "./same-bytes.ts";
import { bytesOf, weightWords } from "./words.ts";

const cols = 300;
const shifts = Uint8Array.of(0, 0, 5, 5, 2);

/** About one word in six is too small for a half. */
const words = bytesOf("BF16", weightWords("BF16", shifts.length * cols, 2 ** -16, seededRandom(7)));

async function collect(codec: Codec, base: number, indexBytes: 4 | 8, room: number) {
  const index = new Uint8Array(room * indexBytes);
  const value = new Uint8Array(room * 2);
  const count = await codec.collectPatches(words, "BF16", cols, shifts, base, index, indexBytes, value);
  return { count, index, value };
}

for (const indexBytes of [4, 8] as const) {
  testEach(`patches with ${indexBytes} byte indices, as the reference`, async (codec) => {
    const base = indexBytes === 8 ? 2 ** 40 + 3 : 12345;
    const expected = await collect(referenceCodec(), base, indexBytes, shifts.length * cols);
    const actual = await collect(codec, base, indexBytes, shifts.length * cols);
    assert.ok(expected.count > 100);
    assert.equal(actual.count, expected.count);
    assertSameBytes(actual.index, expected.index, "index", indexBytes);
    assertSameBytes(actual.value, expected.value, "value", 2);
  });
}

testEach("patches may fill their arrays exactly, and one more is a RangeError", async (codec) => {
  const { inexact } = await codec.countLosses(words, "BF16", cols, shifts);
  assert.equal((await collect(codec, 0, 4, inexact)).count, inexact);
  await assert.rejects(collect(codec, 0, 4, inexact - 1), {
    name: "RangeError",
    message: `index, value: expected room for ${inexact} patches, got room for ${inexact - 1}`,
  });
});

testEach("an index of 4 bytes ends at 2^32", async (codec) => {
  const last = 2 ** 32 - shifts.length * cols;
  assert.ok((await collect(codec, last, 4, 1500)).count > 0);
  await assert.rejects(collect(codec, last + 1, 4, 1500), { name: "RangeError", message: /^base: / });
});

test("reference: too little room and a block behind 2^32 are RangeErrors too", async () => {
  await assert.rejects(collect(referenceCodec(), 0, 4, 0), { name: "RangeError" });
  await assert.rejects(collect(referenceCodec(), 2 ** 32, 4, 1500), { name: "RangeError" });
});
