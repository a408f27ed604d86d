import assert from "node:assert/strict";

import { halfToNumber, roundToE4m3, roundToHalf } from "../../src/codec/reference.ts";
import { activationValues, unalignedBytes } from "../device/values.ts";
import { toDeviceOrder } from "../kernels/device-layout.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { gpuTest } from "./session.ts";

/** What src/device/device.ts says of activations "e4m3". */
function quantised(row: readonly number[]): { scale: number; bytes: Uint8Array } {
  const scale = Math.fround(Math.max(...row.map(Math.abs)) / 448) || 1;
  return { scale, bytes: Uint8Array.from(row, (value) => roundToE4m3(Math.fround(value / scale))) };
}

gpuTest("rows are the reference's bytes and scales, in both orders", async (gpu) => {
  for (const [rows, cols] of [
    [1, 16],
    [3, 80],
    [5, 4112],
    [300, 4096],
    [2, 28672],
  ] as const) {
    const values = activationValues(rows * cols, seededRandom(rows * cols));
    const words = Uint16Array.from(values, roundToHalf);
    words.fill(0x8000, 0, Math.min(cols, 8));
    if (rows > 1) words.fill(0, cols, 2 * cols);
    const natural = await gpu.quantiseRows(unalignedBytes(words), rows, cols, false);
    const permuted = await gpu.quantiseRows(unalignedBytes(words), rows, cols, true);
    const expected = new Uint8Array(rows * cols);
    for (let row = 0; row < rows; row++) {
      const { scale, bytes } = quantised(
        Array.from(words.subarray(row * cols, (row + 1) * cols), halfToNumber),
      );
      expected.set(bytes, row * cols);
      assert.equal(natural.scales[row], scale, `[${rows}, ${cols}]: scale of row ${row}`);
      assert.equal(permuted.scales[row], scale, `[${rows}, ${cols}]: scale of row ${row}, permuted`);
    }
    assert.deepEqual(natural.bytes, expected, `[${rows}, ${cols}]`);
    assert.deepEqual(permuted.bytes, toDeviceOrder(expected, rows, cols), `[${rows}, ${cols}], permuted`);
  }
});

gpuTest("all binary16 values below the largest round to the nearest E4M3, ties to even", async (gpu) => {
  // With 448 in each row the scale is 1.
  const words = Array.from({ length: roundToHalf(448) }, (_, word) =>
    word % 64 === 63 ? roundToHalf(448) : word,
  );
  while (words.length % 64 !== 0) words.push(roundToHalf(448));
  const { bytes, scales } = await gpu.quantiseRows(unalignedBytes(words), words.length / 64, 64, false);
  assert.ok(scales.every((scale) => scale === 1));
  for (const [at, word] of words.entries()) {
    assert.equal(bytes[at], roundToE4m3(halfToNumber(word)), `word 0x${word.toString(16)}`);
  }
});
