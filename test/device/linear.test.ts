import assert from "node:assert/strict";
import { test } from "node:test";

import { e4m3ToNumber, halfToNumber, roundToE4m3 } from "../../src/codec/reference.ts";
import type { Device, LinearOptions, WeightBytes } from "../../src/device/device.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { allDevices, testEach } from "./implementations.ts";
import {
  activationValues,
  assertClose,
  assertSameBits,
  eligibleWords,
  planesOf,
  resultOf,
  shiftedWords,
  unalignedBytes,
  uploaded,
} from "./values.ts";

type Shape = { readonly tokens: number; readonly rows: number; readonly cols: number };

/** Few and many tokens, with every kind of rest in each dimension. */
const shapes: Shape[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((tokens) => ({ tokens, rows: 9, cols: 80 })),
  ...[9, 15, 16, 17, 31, 32, 33, 48, 65].map((tokens) => ({ tokens, rows: 29, cols: 48 })),
  ...[1, 15, 16, 17, 31, 63, 64, 65, 255, 256, 257].flatMap((cols) => [
    { tokens: 3, rows: 5, cols },
    { tokens: 20, rows: 13, cols },
  ]),
  ...[1, 3, 4, 6, 12, 97, 200].flatMap((rows) => [
    { tokens: 2, rows, cols: 32 },
    { tokens: 18, rows, cols: 32 },
  ]),
  // Several pieces of work.
  { tokens: 2, rows: 1500, cols: 200 },
  { tokens: 20, rows: 500, cols: 64 },
  { tokens: 1, rows: 3, cols: 5000 },
  { tokens: 12, rows: 5, cols: 1111 },
];

/** The same weights in every form, all at odd addresses, with the exact values that each stands for. */
function weightsOf({ rows, cols }: Shape, seed: number) {
  const random = seededRandom(seed);
  const words = eligibleWords(rows * cols, random);
  const { upper, lower } = planesOf(words);
  const shifts = Uint8Array.from({ length: rows }, (_, row) => (row % 3 === 1 ? row % 16 : 0));
  const scales = Float32Array.from({ length: rows }, () => 0.001 + random());
  const power = (k: number) => 2 ** (shifts[Math.floor(k / cols)] ?? 0);
  const e4m3 = Array.from(upper, e4m3ToNumber);
  const shifted = shiftedWords(words, cols, shifts);
  const kinds: Record<string, { bytes: WeightBytes; values: number[]; options: LinearOptions }> = {
    fp16: {
      bytes: { kind: "fp16", words: unalignedBytes(shifted) },
      values: Array.from(shifted, halfToNumber),
      options: { precision: "fp16" },
    },
    "nested-fp16": {
      bytes: { kind: "nested", upper, lower, shifts },
      values: Array.from(words, (word, k) => halfToNumber(word) * power(k)),
      options: { precision: "nested-fp16" },
    },
    "nested-fp8": {
      bytes: { kind: "nested", upper, shifts },
      values: e4m3.map((value, k) => (value / 256) * power(k)),
      options: { precision: "nested-fp8", activations: "fp16" },
    },
    fp8: {
      bytes: { kind: "fp8", bytes: upper, scales },
      values: e4m3.map((value, k) => value * (scales[Math.floor(k / cols)] ?? 0)),
      options: { precision: "fp8", activations: "fp16" },
    },
  };
  return kinds;
}

/** The product in double precision, and the sum of magnitudes that bounds its error in FP32. */
function product(x: ArrayLike<number>, weights: readonly number[], { tokens, rows, cols }: Shape) {
  const sums = new Float64Array(tokens * rows);
  const magnitudes = new Float64Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    for (let n = 0; n < rows; n++) {
      for (let k = 0; k < cols; k++) {
        const term = (x[t * cols + k] ?? 0) * (weights[n * cols + k] ?? 0);
        sums[t * rows + n] = (sums[t * rows + n] ?? 0) + term;
        magnitudes[t * rows + n] = (magnitudes[t * rows + n] ?? 0) + Math.abs(term);
      }
    }
  }
  return { sums, magnitudes };
}

async function linear(
  device: Device,
  shape: Shape,
  x: Float32Array,
  { bytes, options }: { bytes: WeightBytes; options: LinearOptions },
): Promise<Float32Array> {
  const { tokens, rows, cols } = shape;
  const handles = [uploaded(device, x, tokens, cols), device.weights(bytes, rows, cols)] as const;
  const out = await resultOf(device, tokens, rows, (to) => device.linear(...handles, to, options));
  device.free(...handles);
  return out;
}

/** E4M3(x / scale) * scale of each token, by the formula of EVAL.md. */
function quantisedTokens(x: Float32Array, cols: number): number[] {
  return Array.from({ length: x.length / cols }, (_, t) => x.subarray(t * cols, (t + 1) * cols)).flatMap(
    (token) => {
      const most = Math.fround(token.reduce((a, b) => Math.max(a, Math.abs(b)), 0) / 448);
      const scale = most === 0 ? 1 : most;
      return Array.from(token, (value) => e4m3ToNumber(roundToE4m3(Math.fround(value / scale))) * scale);
    },
  );
}

testEach("every kind of weights is the product in double precision, whatever the rests", async (device) => {
  for (const [seed, shape] of shapes.entries()) {
    const x = activationValues(shape.tokens * shape.cols, seededRandom(seed + 1000));
    for (const [kind, weights] of Object.entries(weightsOf(shape, seed))) {
      const { sums, magnitudes } = product(x, weights.values, shape);
      const out = await linear(device, shape, x, weights);
      const tolerance = (k: number) => 1e-6 * (magnitudes[k] ?? 0);
      assertClose(out, sums, tolerance, `${kind} ${JSON.stringify(shape)}`);
    }
  }
});

testEach("E4M3 activations are the product of the quantised tokens", async (device) => {
  for (const shape of [
    { tokens: 3, rows: 20, cols: 100 },
    { tokens: 40, rows: 20, cols: 300 },
  ]) {
    const x = activationValues(shape.tokens * shape.cols, seededRandom(5));
    x.fill(0, shape.cols, 2 * shape.cols);
    const quantised = quantisedTokens(x, shape.cols);
    const kinds = weightsOf(shape, 5);
    for (const kind of ["nested-fp8", "fp8"] as const) {
      const weights = kinds[kind];
      assert.ok(weights !== undefined);
      const { sums, magnitudes } = product(quantised, weights.values, shape);
      for (const activations of ["e4m3", undefined] as const) {
        const options = { precision: kind, activations };
        const out = await linear(device, shape, x, { ...weights, options });
        assertClose(out, sums, (k) => 1e-6 * (magnitudes[k] ?? 0), `${kind} ${JSON.stringify(shape)}`);
      }
    }
  }
});

test("all implementations and numbers of threads give the same bits", async () => {
  const [first, ...others] = allDevices();
  assert.ok(first !== undefined);
  for (const shape of [
    { tokens: 7, rows: 1000, cols: 333 },
    { tokens: 70, rows: 333, cols: 600 },
  ]) {
    const x = activationValues(shape.tokens * shape.cols, seededRandom(9));
    for (const [kind, weights] of Object.entries(weightsOf(shape, 9))) {
      for (const activations of ["e4m3", "fp16"] as const) {
        const call = { ...weights, options: { ...weights.options, activations } };
        const expected = await linear(first, shape, x, call);
        for (const device of others) {
          const what = `${device.name} ${kind} ${activations} ${JSON.stringify(shape)}`;
          assertSameBits(await linear(device, shape, x, call), expected, what);
        }
      }
    }
  }
});

testEach("a bias is added last, and out may be some columns of a wider matrix", async (device) => {
  for (const shape of [
    { tokens: 2, rows: 1500, cols: 200 },
    { tokens: 40, rows: 24, cols: 64 },
    { tokens: 20, rows: 500, cols: 64 },
  ]) {
    const { tokens, rows, cols } = shape;
    const stride = rows + 6;
    const x = activationValues(tokens * cols, seededRandom(3));
    const { "nested-fp8": weights } = weightsOf(shape, 3);
    assert.ok(weights !== undefined);
    const bias = activationValues(rows, seededRandom(4));
    const call = { ...weights, options: { precision: "nested-fp8" } as const };
    const plain = await linear(device, shape, x, call);
    const wide = uploaded(device, new Float32Array(tokens * stride).fill(7), tokens, stride);
    device.linear(
      uploaded(device, x, tokens, cols),
      device.weights(weights.bytes, rows, cols),
      device.columns(wide, 5, rows),
      { precision: "nested-fp8", bias: device.constants(bias) },
    );
    const expected = new Float32Array(tokens * stride).fill(7);
    plain.forEach((value, k) => {
      const n = k % rows;
      expected[Math.floor(k / rows) * stride + 5 + n] = value + (bias[n] ?? 0);
    });
    assertSameBits(await device.download(wide), expected, JSON.stringify(shape));
  }
});

testEach("x may be some columns and rows of a wider matrix", async (device) => {
  const shape = { tokens: 20, rows: 8, cols: 40 };
  const { fp16 } = weightsOf(shape, 6);
  assert.ok(fp16 !== undefined);
  const wide = activationValues(30 * 50, seededRandom(6));
  const part = Float32Array.from(
    { length: 800 },
    (_, k) => wide[(Math.floor(k / 40) + 4) * 50 + 3 + (k % 40)] ?? 0,
  );
  const x = device.columns(device.rows(uploaded(device, wide, 30, 50), 4, 20), 3, 40);
  const weights = device.weights(fp16.bytes, shape.rows, shape.cols);
  const out = await resultOf(device, 20, 8, (to) => device.linear(x, weights, to, { precision: "fp16" }));
  assertSameBits(out, await linear(device, shape, part, fp16), "a view");
});

testEach("a value that is not finite stays visible in its token, and only there", async (device) => {
  for (const tokens of [2, 20]) {
    const shape = { tokens, rows: 3, cols: 40 };
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      const x = activationValues(tokens * 40, seededRandom(8));
      x[40 + 11] = bad;
      for (const [kind, weights] of Object.entries(weightsOf(shape, 8))) {
        for (const activations of ["e4m3", "fp16"] as const) {
          const call = { ...weights, options: { ...weights.options, activations } };
          const out = await linear(device, shape, x, call);
          const what = `${kind} ${activations} ${bad}`;
          assert.ok(
            out.subarray(3, 6).every((value) => !Number.isFinite(value)),
            `${what}: ${out.subarray(3, 6)}`,
          );
          assert.ok(out.subarray(0, 3).every(Number.isFinite), what);
          assert.ok(out.subarray(6).every(Number.isFinite), what);
        }
      }
    }
  }
});

testEach("what an earlier call left in scratch memory does not matter", async (device) => {
  for (const tokens of [3, 20]) {
    const shape = { tokens, rows: 5, cols: 33 };
    const { fp16 } = weightsOf(shape, 2);
    const wide = { tokens, rows: 5, cols: 64 };
    const { fp16: wideWeights } = weightsOf(wide, 2);
    assert.ok(fp16 !== undefined && wideWeights !== undefined);
    const x = activationValues(tokens * 33, seededRandom(2));
    const before = await linear(device, shape, x, fp16);
    await linear(device, wide, new Float32Array(tokens * 64).fill(Number.NaN), wideWeights);
    assertSameBits(await linear(device, shape, x, fp16), before, `${tokens} tokens`);
  }
});
