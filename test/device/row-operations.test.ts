import assert from "node:assert/strict";
import { test } from "node:test";

import { bf16ToNumber, halfToNumber } from "../../src/codec/reference.ts";
import type { Device } from "../../src/device/device.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { allDevices, testEach } from "./implementations.ts";
import {
  activationValues,
  assertClose,
  assertSameBits,
  eligibleWords,
  resultOf,
  unalignedBytes,
  uploaded,
} from "./values.ts";

const lengths = [1, 2, 15, 16, 17, 31, 33, 64, 100, 257];

function rmsNormOf(x: Float32Array, weight: Float32Array, eps: number): number[] {
  const group = weight.length;
  return Array.from(x, (value, at) => {
    const first = Math.floor(at / group) * group;
    const squares = x.subarray(first, first + group).reduce((sum, entry) => sum + entry * entry, 0);
    return (value / Math.sqrt(squares / group + eps)) * (weight[at % group] ?? 0);
  });
}

testEach("rmsNorm is its formula, on rows and on heads", async (device) => {
  for (const group of lengths) {
    for (const heads of [1, 3]) {
      const x = activationValues(5 * heads * group, seededRandom(group));
      const weight = activationValues(group, seededRandom(heads));
      const from = uploaded(device, x, 5, heads * group);
      const constants = device.constants(weight);
      const out = await resultOf(device, 5, heads * group, (to) => device.rmsNorm(from, constants, 1e-5, to));
      const expected = rmsNormOf(x, weight, 1e-5);
      assertClose(out, expected, (k) => 1e-6 * Math.abs(expected[k] ?? 0), `${heads} x ${group}`);
      device.rmsNorm(from, constants, 1e-5, from);
      assertSameBits(await device.download(from), out, `${heads} x ${group} in place`);
    }
  }
});

testEach("rmsNorm of zeros is zero, and eps matters", async (device) => {
  const weight = device.constants(new Float32Array(20).fill(2));
  const zeros = device.allocate(2, 20);
  const out = await resultOf(device, 2, 20, (to) => device.rmsNorm(zeros, weight, 1e-6, to));
  assertSameBits(out, new Float32Array(40), "zeros");
  const small = uploaded(device, new Float32Array(20).fill(1e-3), 1, 20);
  const damped = await resultOf(device, 1, 20, (to) => device.rmsNorm(small, weight, 3e-6, to));
  assertClose(damped, new Float32Array(20).fill(1), () => 1e-6, "1e-3 / sqrt(1e-6 + 3e-6) * 2");
});

testEach("rope turns each pair of columns by its row's angle, and leaves the rest", async (device) => {
  for (const [headDim, rotaryDim] of [
    [8, 8],
    [64, 64],
    [80, 32],
    [34, 34],
    [6, 2],
  ] as const) {
    const half = rotaryDim / 2;
    const positions = Int32Array.of(0, 3, 1, 9, 9);
    const angles = Float32Array.from(
      { length: 10 * half },
      (_, at) => Math.floor(at / half) / 10 ** (at % half),
    );
    const cos = angles.map(Math.cos);
    const sin = angles.map(Math.sin);
    const x = activationValues(5 * 3 * headDim, seededRandom(headDim));
    const to = uploaded(device, x, 5, 3 * headDim);
    device.rope(to, headDim, rotaryDim, device.constants(cos), device.constants(sin), positions);
    const expected = Array.from(x, (value, at) => {
      const col = at % headDim;
      if (col >= rotaryDim) return value;
      const angle = (positions[Math.floor(at / (3 * headDim))] ?? 0) * half + (col % half);
      const [c, s] = [cos[angle] ?? 0, sin[angle] ?? 0];
      return col < half ? value * c - (x[at + half] ?? 0) * s : value * c + (x[at - half] ?? 0) * s;
    });
    assertClose(await device.download(to), expected, () => 1e-5, `${headDim}, ${rotaryDim}`);
  }
});

testEach("siluMul is gate / (1 + exp(-gate)) * up, in place and on halves of a matrix", async (device) => {
  const extreme = [0, -0, 88, -88, 89, -89, 200, -200, 1e-20, 3e38, -3e38];
  for (const count of lengths) {
    const gate = activationValues(2 * count, seededRandom(count)).map(
      (value, k) => extreme[k - 4] ?? 3 * value,
    );
    const up = activationValues(2 * count, seededRandom(count + 1));
    const fused = new Float32Array(4 * count);
    for (const row of [0, 1]) {
      fused.set(gate.subarray(row * count, (row + 1) * count), row * 2 * count);
      fused.set(up.subarray(row * count, (row + 1) * count), row * 2 * count + count);
    }
    const x = uploaded(device, fused, 2, 2 * count);
    const parts = [device.columns(x, 0, count), device.columns(x, count, count)] as const;
    const out = await resultOf(device, 2, count, (to) => device.siluMul(...parts, to));
    const expected = Array.from(gate, (value, k) => (value / (1 + Math.exp(-value))) * (up[k] ?? 0));
    assertClose(out, expected, (k) => 1e-6 * Math.abs(expected[k] ?? 0) + 1e-36, `${count}`);
    device.siluMul(...parts, parts[0]);
    assertSameBits(await device.download(parts[0]), out, `${count} in place`);
    assertSameBits(await device.download(parts[1]), up, `${count}: up stays`);
  }
});

testEach("add adds", async (device) => {
  for (const count of lengths) {
    const a = activationValues(3 * count, seededRandom(1));
    const b = activationValues(3 * count, seededRandom(2));
    const x = uploaded(device, a, 3, count);
    device.add(x, uploaded(device, b, 3, count));
    assertSameBits(
      await device.download(x),
      a.map((value, k) => value + (b[k] ?? 0)),
      `${count}`,
    );
  }
});

testEach("embedding copies the rows of its ids from tables of each type", async (device) => {
  const ids = Int32Array.of(6, 0, 6, 3);
  for (const cols of [1, 16, 33, 300]) {
    const words = eligibleWords(7 * cols, seededRandom(cols));
    const floats = activationValues(7 * cols, seededRandom(cols));
    const fp32 = unalignedBytes(new Uint8Array(floats.buffer), 1);
    const tables = [
      ["fp16", unalignedBytes(words), Array.from(words, halfToNumber)],
      ["bf16", unalignedBytes(words), Array.from(words, bf16ToNumber)],
      ["fp32", fp32, Array.from(floats)],
    ] as const;
    for (const [kind, bytes, values] of tables) {
      const table = device.weights({ kind, words: bytes }, 7, cols);
      const out = await resultOf(device, 4, cols, (to) => device.embedding(table, ids, to));
      const expected = Array.from(ids).flatMap((id) => values.slice(id * cols, (id + 1) * cols));
      assertSameBits(
        out.map((value) => value + 0),
        Float32Array.from(expected, (value) => value + 0),
        `${kind} ${cols}`,
      );
    }
  }
});

test("all implementations and numbers of threads give the same bits", async () => {
  const outputs = async (device: Device) => {
    const x = uploaded(device, activationValues(300 * 210, seededRandom(5)), 300, 210);
    const weight = device.constants(activationValues(70, seededRandom(6)));
    const cos = device.constants(activationValues(300 * 11, seededRandom(7)));
    const sin = device.constants(activationValues(300 * 11, seededRandom(8)));
    const norm = await resultOf(device, 300, 210, (to) => device.rmsNorm(x, weight, 1e-5, to));
    const silu = await resultOf(device, 300, 210, (to) => device.siluMul(x, x, to));
    device.rope(
      x,
      30,
      22,
      cos,
      sin,
      Int32Array.from({ length: 300 }, (_, t) => t),
    );
    return { norm, silu, rope: await device.download(x) };
  };
  const [first, ...others] = allDevices();
  assert.ok(first !== undefined);
  const expected = await outputs(first);
  for (const device of others) {
    const actual = await outputs(device);
    for (const name of ["norm", "silu", "rope"] as const) {
      assertSameBits(actual[name], expected[name], `${device.name}: ${name}`);
    }
  }
});
