import assert from "node:assert/strict";

import {
  bf16ToNumber,
  e4m3ToNumber,
  halfToNumber,
  roundToE4m3,
  roundToHalf,
} from "../../src/codec/reference.ts";
import type { Device } from "../../src/device/device.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { testEach } from "./implementations.ts";
import { assertSameBits, eligibleWords, resultOf, unalignedBytes, uploaded } from "./values.ts";

/** E4M3(x / scale) of one token as values: the product with a diagonal of ones, whose sums have one term each. */
async function quantisedToken(device: Device, token: Float32Array): Promise<Float32Array> {
  const cols = token.length;
  const one = roundToE4m3(1);
  const diagonal = Uint8Array.from({ length: cols * cols }, (_, at) => (at % (cols + 1) === 0 ? one : 0));
  const scales = new Float32Array(cols).fill(1);
  const weights = device.weights({ kind: "fp8", bytes: diagonal, scales }, cols, cols);
  const x = uploaded(device, token, 1, cols);
  return resultOf(device, 1, cols, (to) => device.linear(x, weights, to, { precision: "fp8" }));
}

testEach(
  "tokens: ties go to even, what lies below half of the least becomes 0, 448 stays",
  async (device) => {
    // With a largest value of 448 the scale is 1.
    const cases: [number, number][] = [
      [448, 448],
      [-448, -448],
      [1.0625, 1], // halfway between 1 and 1.125
      [1.1875, 1.25],
      [-1.0625, -1],
      [1.0625 + 2 ** -23, 1.125],
      [1.0625 - 2 ** -23, 1],
      [432, 448], // halfway between 416 and 448
      [431.99997, 416],
      [2 ** -6, 2 ** -6],
      [2 ** -9, 2 ** -9],
      [2 ** -10, 0], // halfway to the least subnormal
      [2 ** -10 + 2 ** -33, 2 ** -9],
      [3 * 2 ** -10, 2 ** -8],
      [5 * 2 ** -10, 2 ** -8],
      [-(2 ** -20), 0],
      [15.5 * 2 ** -10, 2 ** -6], // from the largest subnormals into the normal ones
      [1.9375, 2], // over a power of two
      [0, 0],
    ];
    const out = await quantisedToken(
      device,
      Float32Array.from(cases, ([value]) => value),
    );
    for (const [at, [value, expected]] of cases.entries()) assert.equal(out[at], expected + 0, `${value}`);
  },
);

testEach("tokens: all 256 codes, times a scale that is no power of two", async (device) => {
  const codes = Array.from({ length: 256 }, (_, code) => e4m3ToNumber(code)).filter(Number.isFinite);
  const scale = Math.fround(0.7);
  // The largest is 448 * scale rounded, which divided by 448 must give the scale back for the codes to be exact.
  assert.equal(Math.fround(Math.fround(448 * scale) / 448), scale);
  const out = await quantisedToken(
    device,
    Float32Array.from(codes, (code) => code * scale),
  );
  assertSameBits(
    out.map((value) => value + 0),
    Float32Array.from(codes, (code) => Math.fround(code * scale) + 0),
    "codes",
  );
});

testEach("tokens: zeros and values too small for a scale of their own", async (device) => {
  assertSameBits(await quantisedToken(device, new Float32Array(20)), new Float32Array(20), "zeros");
  const tiny = new Float32Array(20).fill(2 ** -149);
  assertSameBits(
    await quantisedToken(device, tiny),
    new Float32Array(20),
    "2^-149 / 448 is 0, so the scale is 1",
  );
});

testEach("rows: scale = max|w| / 448, bytes = E4M3(w / scale), zero rows have scale 1", async (device) => {
  for (const [rows, cols] of [
    [7, 300],
    [3, 256],
    [2, 5],
    [40, 1],
  ] as const) {
    const words = eligibleWords(rows * cols, seededRandom(cols));
    words.fill(0x8000, cols, 2 * cols);
    words[0] = 0x7bff; // 65504
    const { bytes, scales } = await device.quantiseFp8(unalignedBytes(words), rows, cols);
    assert.equal(bytes.length, rows * cols);
    for (let n = 0; n < rows; n++) {
      const row = Array.from(words.subarray(n * cols, (n + 1) * cols), halfToNumber);
      const most = Math.max(...row.map(Math.abs));
      const scale = most === 0 ? 1 : Math.fround(most / 448);
      assert.equal(scales[n], scale, `scale of row ${n}`);
      for (const [k, value] of row.entries()) {
        const expected = roundToE4m3(Math.fround(value / scale));
        assert.equal(bytes[n * cols + k], expected, `${rows} x ${cols}: row ${n} column ${k}, ${value}`);
      }
    }
  }
});

testEach("rows: one that holds a NaN, wherever, becomes no numbers, and the others stay", async (device) => {
  const cols = 3000; // several blocks
  for (const at of [0, 1, 1500, cols - 1]) {
    const words = new Uint16Array(3 * cols).fill(0x3c00);
    words[cols + at] = 0x7e00;
    const { scales } = await device.quantiseFp8(unalignedBytes(words), 3, cols);
    assert.deepEqual([...scales], [Math.fround(1 / 448), Number.NaN, Math.fround(1 / 448)], `NaN at ${at}`);
  }
});

testEach("rows: a row whose scale is 1 keeps every E4M3 value", async (device) => {
  const codes = Array.from({ length: 256 }, (_, code) => code).filter((code) => (code & 0x7f) !== 0x7f);
  const words = codes.map((code) => roundToHalf(e4m3ToNumber(code)));
  const { bytes, scales } = await device.quantiseFp8(unalignedBytes(words), 1, codes.length);
  assert.deepEqual([...scales], [1]);
  assert.deepEqual([...bytes], codes);
});

testEach("all bfloat16 words round to the nearest half, ties to even", async (device) => {
  const words = Array.from({ length: 0x10000 }, (_, word) => word).filter(
    (word) => !Number.isNaN(bf16ToNumber(word)),
  );
  const halves = await device.toHalf(unalignedBytes(words), "bf16");
  const view = new DataView(halves.buffer, halves.byteOffset);
  for (const [at, word] of words.entries()) {
    assert.equal(view.getUint16(2 * at, true), roundToHalf(bf16ToNumber(word)), `0x${word.toString(16)}`);
  }
});

testEach(
  "binary32 values around every half and every tie round to the nearest, ties to even",
  async (device) => {
    const values: number[] = [0, -0, Infinity, -Infinity, 65519.996, 65520, 2 ** -25, 2 ** -149, -(2 ** -26)];
    for (let half = 0; half < 0x7c00; half += 3) {
      const value = halfToNumber(half);
      const tie = (value + halfToNumber(Math.min(half + 1, 0x7bff))) / 2;
      const bits = new Uint32Array(Float32Array.of(tie).buffer);
      const near = Float32Array.from(new Float32Array(Uint32Array.of((bits[0] ?? 0) + 1).buffer));
      values.push(value, -tie, tie, near[0] ?? 0);
    }
    const floats = Float32Array.from(values);
    const halves = await device.toHalf(unalignedBytes(new Uint8Array(floats.buffer), 1), "fp32");
    const view = new DataView(halves.buffer, halves.byteOffset);
    for (const [at, value] of floats.entries()) {
      assert.equal(view.getUint16(2 * at, true), roundToHalf(value), `${value}`);
    }
  },
);
