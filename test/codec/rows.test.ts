import assert from "node:assert/strict";

import { type Codec, type SourceDtype, sourceBytes } from "../../src/codec/codec.ts";
import { referenceCodec } from "../../src/codec/reference-codec.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { testEach } from "./implementations.ts";
import { assertSameBytes } from "./same-bytes.ts";
import { bytesOf, weightWords } from "./words.ts";

const dtypes = ["F16", "BF16", "F32"] as const;

/** Rows of very different size, some with the same shift as the one before. */
function randomBlock(dtype: SourceDtype, rows: number, cols: number, seed: number): Uint8Array {
  const random = seededRandom(seed);
  let exponent = 0;
  const words = Array.from({ length: rows }, () => {
    if (random() < 0.5) exponent = Math.floor(random() * 20) - 8;
    return weightWords(dtype, cols, 2 ** exponent, random);
  });
  return bytesOf(dtype, words.flat());
}

async function scanAndSplit(codec: Codec, words: Uint8Array, dtype: SourceDtype, cols: number) {
  const rows = words.length / sourceBytes[dtype] / cols;
  const shifts = new Uint8Array(rows);
  const upper = new Uint8Array(rows * cols);
  const lower = new Uint8Array(rows * cols);
  const joined = new Uint8Array(words.length);
  const scan = await codec.scanRows(words, dtype, cols, shifts);
  const losses = await codec.countLosses(words, dtype, cols, shifts);
  await codec.splitRows(words, dtype, cols, shifts, upper, lower);
  await codec.joinRows(upper, lower, dtype, cols, shifts, joined);
  const noise = await codec.noiseOf(words, dtype, cols, shifts, upper);
  return { scan, losses, noise, shifts, upper, lower, joined };
}

for (const dtype of dtypes) {
  testEach(`${dtype}: random blocks of many rows with mixed shifts, as the reference`, async (codec) => {
    for (const [rows, cols] of [
      [64, 16],
      [37, 131],
      [5, 1000],
    ] as const) {
      const words = randomBlock(dtype, rows, cols, rows);
      const expected = await scanAndSplit(referenceCodec(), words, dtype, cols);
      const actual = await scanAndSplit(codec, words, dtype, cols);
      const what = `${dtype} ${rows} x ${cols}`;
      assert.ok(new Set(expected.shifts).size > 1, `${what}: one shift only`);
      for (const part of ["shifts", "upper", "lower", "joined"] as const) {
        assertSameBytes(actual[part], expected[part], `${what} ${part}`);
      }
      assert.deepEqual(actual.scan, expected.scan, what);
      assert.deepEqual(actual.losses, expected.losses, what);
      assert.deepEqual(actual.noise, expected.noise, what);
    }
  });

  testEach(`${dtype}: a scan tells rows with NaN, infinities, zeros and too large values`, async (codec) => {
    const special = {
      F16: { nan: 0xfe01, infinity: 0xfc00, tooLarge: 0x7b80, largest: 0x7b7f },
      BF16: { nan: 0xffc1, infinity: 0xff80, tooLarge: 0x4770, largest: 0x476f },
      F32: { nan: 0xffc00001, infinity: 0xff800000, tooLarge: 0x476ff000, largest: 0x476fefff },
    }[dtype];
    const minusZero = dtype === "F32" ? 0x80000000 : 0x8000;
    for (const cols of [1, 16, 77, 256]) {
      for (const at of [0, cols - 1]) {
        const row = (word: number) =>
          Array.from({ length: cols }, (_, col) => (col === at ? word : minusZero));
        const { nan, infinity, tooLarge, largest } = special;
        const rows = [row(0), row(minusZero), row(largest), row(tooLarge), row(infinity), row(nan)];
        const expectedShifts = Uint8Array.of(0, 0, 15, 255, 255, 255);
        // One row more each time: the maximum of the block goes from 0 to NaN.
        for (let count = 1; count <= rows.length; count++) {
          const words = bytesOf(dtype, rows.slice(0, count).flat());
          const shifts = new Uint8Array(count);
          const wanted = new Uint8Array(count);
          const scan = await codec.scanRows(words, dtype, cols, shifts);
          assert.deepEqual(scan, await referenceCodec().scanRows(words, dtype, cols, wanted));
          assertSameBytes(shifts, expectedShifts.subarray(0, count), `${dtype} ${count} rows, column ${at}`);
          assertSameBytes(wanted, shifts, "reference");
          if (count === 5) assert.equal(scan.maxAbs, Infinity);
          if (count === 6) assert.ok(Number.isNaN(scan.maxAbs));
        }
      }
    }
  });
}

testEach("a block without rows or without columns is nothing", async (codec) => {
  const none = new Uint8Array(0);
  assert.deepEqual(await codec.scanRows(none, "BF16", 16, none), { maxAbs: 0, inexact: 0, underflow: 0 });
  const shifts = Uint8Array.of(9, 9);
  await codec.scanRows(none, "F16", 0, shifts);
  assertSameBytes(shifts, Uint8Array.of(0, 0), "shifts");
});
