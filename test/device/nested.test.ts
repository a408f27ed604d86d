import assert from "node:assert/strict";

import type { Device } from "../../src/device/device.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { testEach } from "./implementations.ts";
import {
  activationValues,
  assertSameBits,
  eligibleWords,
  planesOf,
  resultOf,
  shiftedWords,
  unalignedBytes,
  uploaded,
} from "./values.ts";

/** The outputs of both precisions from the same values. */
async function bothOutputs(
  device: Device,
  words: Uint16Array,
  shifts: Uint8Array,
  x: Float32Array,
  cols: number,
): Promise<[Float32Array, Float32Array]> {
  const rows = words.length / cols;
  const tokens = x.length / cols;
  const plain = { kind: "fp16", words: unalignedBytes(shiftedWords(words, cols, shifts)) } as const;
  const from = uploaded(device, x, tokens, cols);
  const half = device.weights(plain, rows, cols);
  const nested = device.weights({ kind: "nested", ...planesOf(words), shifts }, rows, cols);
  return [
    await resultOf(device, tokens, rows, (to) => device.linear(from, half, to, { precision: "fp16" })),
    await resultOf(device, tokens, rows, (to) =>
      device.linear(from, nested, to, { precision: "nested-fp16" }),
    ),
  ];
}

testEach("nested-fp16 is fp16 bit for bit, for every number of tokens", async (device) => {
  const random = seededRandom(1);
  for (const [rows, cols] of [
    [48, 64],
    [16, 304],
    [112, 16],
  ] as const) {
    const words = eligibleWords(rows * cols, random);
    const shifts = Uint8Array.from({ length: rows }, (_, row) => (row < 16 ? row : 0));
    for (const tokens of [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 64]) {
      const x = activationValues(tokens * cols, random);
      const [fp16, nested] = await bothOutputs(device, words, shifts, x, cols);
      assertSameBits(nested, fp16, `${tokens} x ${rows} x ${cols}`);
    }
  }
});

testEach("activations so small that products underflow make no difference", async (device) => {
  const words = eligibleWords(16 * 32, seededRandom(2));
  const shifts = Uint8Array.from({ length: 16 }, (_, row) => row);
  for (const tokens of [1, 9]) {
    const x = activationValues(tokens * 32, seededRandom(3)).map((value) => value * 2 ** -125);
    const [fp16, nested] = await bothOutputs(device, words, shifts, x, 32);
    assertSameBits(nested, fp16, `${tokens} tokens`);
    assert.ok(
      fp16.some((value) => value !== 0),
      "some product is left",
    );
  }
});

testEach("each of the 32,512 eligible words comes out of its planes as it went in", async (device) => {
  const all = Uint16Array.from(
    Array.from({ length: 0x10000 }, (_, word) => word).filter((word) => (word & 0x7fff) < 0x3f80),
  );
  assert.equal(all.length, 32512);
  // One column a word: the output of a token of ones is the weight itself, and its bits are compared, zeros too.
  for (const tokens of [1, 9]) {
    const [fp16, nested] = await bothOutputs(
      device,
      all,
      new Uint8Array(all.length),
      new Float32Array(tokens).fill(1),
      1,
    );
    assertSameBits(nested, fp16, `${tokens} tokens`);
    assert.equal(new Set(fp16).size, 32511, "zeros of both signs are one value, every other word its own");
  }
});
