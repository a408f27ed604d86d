import assert from "node:assert/strict";
import { test } from "node:test";

import { createCpuDevice } from "../../src/device/cpu.ts";
import type { Activations, AttentionOptions, Device } from "../../src/device/device.ts";
import { deviceOfFile } from "./implementations.ts";

const device = deviceOfFile();
const other = deviceOfFile();

const x = device.allocate(4, 16);
const out = device.allocate(4, 8);
const bytes = (length: number) => new Uint8Array(length);
const words = (rows: number, cols: number) => ({ kind: "fp16", words: bytes(rows * cols * 2) }) as const;
const fp16 = device.weights(words(8, 16), 8, 16);
const upperOnly = device.weights({ kind: "nested", upper: bytes(128) }, 8, 16);
const both = device.weights({ kind: "nested", upper: bytes(128), lower: bytes(128) }, 8, 16);
const fp8 = device.weights({ kind: "fp8", bytes: bytes(128), scales: new Float32Array(8) }, 8, 16);
const table = device.weights({ kind: "bf16", words: bytes(256) }, 8, 16);
const constants = (length: number) => device.constants(new Float32Array(length));
const halfPrecision = { precision: "fp16" } as const;
const half = (d: Device) => d.weights(words(8, 16), 8, 16);

const attention: AttentionOptions = {
  sequenceLengths: Int32Array.of(1, 3),
  heads: 4,
  kvHeads: 2,
  headDim: 4,
  scale: 0.5,
};
function attend(options: Partial<AttentionOptions>, k: Activations = device.allocate(4, 8)): void {
  const v = device.allocate(4, 8);
  device.attention(x, k, v, device.allocate(4, 16), { ...attention, ...options });
}

function rope(headDim: number, rotaryDim: number, tables: [number, number], positions: Int32Array): void {
  device.rope(x, headDim, rotaryDim, constants(tables[0]), constants(tables[1]), positions);
}

const positions = Int32Array.of(0, 1, 2, 3);

const rangeErrors: [string, () => unknown][] = [
  ["rows", () => device.allocate(0, 1)],
  ["cols", () => device.allocate(1, 1.5)],
  ["cols", () => device.allocate(1, 2 ** 31)],
  ["first", () => device.columns(x, 16, 1)],
  ["first", () => device.columns(x, -1, 1)],
  ["count", () => device.columns(x, 10, 7)],
  ["count", () => device.rows(x, 1, 4)],
  ["count", () => device.rows(x, 1, 0)],
  ["words", () => device.weights({ kind: "fp16", words: bytes(255) }, 8, 16)],
  ["words", () => device.weights({ kind: "fp32", words: bytes(256) }, 8, 16)],
  ["upper", () => device.weights({ kind: "nested", upper: bytes(127) }, 8, 16)],
  ["lower", () => device.weights({ kind: "nested", upper: bytes(128), lower: bytes(129) }, 8, 16)],
  ["shifts", () => device.weights({ kind: "nested", upper: bytes(128), shifts: bytes(7) }, 8, 16)],
  ["shifts", () => device.weights({ kind: "nested", upper: bytes(2), shifts: Uint8Array.of(15, 16) }, 2, 1)],
  ["bytes", () => device.weights({ kind: "fp8", bytes: bytes(1), scales: new Float32Array(8) }, 8, 16)],
  ["scales", () => device.weights({ kind: "fp8", bytes: bytes(128), scales: new Float32Array(7) }, 8, 16)],
  ["kind", () => device.weights({ kind: "int4" as "fp16", words: bytes(256) }, 8, 16)],
  ["values", () => device.upload(new Float32Array(63), x)],
  ["x", () => device.linear(device.allocate(4, 17), fp16, out, halfPrecision)],
  ["out", () => device.linear(x, fp16, device.allocate(4, 9), halfPrecision)],
  ["out", () => device.linear(x, fp16, device.allocate(3, 8), halfPrecision)],
  ["out", () => device.linear(x, fp16, device.columns(x, 8, 8), halfPrecision)],
  ["bias", () => device.linear(x, fp16, out, { precision: "fp16", bias: constants(16) })],
  ["precision", () => device.linear(x, fp16, out, { precision: "nested-fp16" })],
  ["precision", () => device.linear(x, upperOnly, out, { precision: "nested-fp16" })],
  ["precision", () => device.linear(x, both, out, { precision: "fp8" })],
  ["precision", () => device.linear(x, fp8, out, { precision: "nested-fp8" })],
  ["precision", () => device.linear(x, table, out, halfPrecision)],
  ["table", () => device.embedding(fp8, positions, x)],
  ["ids", () => device.embedding(table, Int32Array.of(0, 1, 2, 8), x)],
  ["ids", () => device.embedding(table, Int32Array.of(0, 1, 2, -1), x)],
  ["ids", () => device.embedding(table, Int32Array.of(0, 1, 2), x)],
  ["out", () => device.embedding(table, positions, out)],
  ["weight", () => device.rmsNorm(x, constants(5), 1e-5, device.allocate(4, 16))],
  ["eps", () => device.rmsNorm(x, constants(16), -1, x)],
  ["eps", () => device.rmsNorm(x, constants(16), NaN, x)],
  ["out", () => device.rmsNorm(x, constants(16), 0, out)],
  ["out", () => device.rmsNorm(device.columns(x, 0, 8), constants(8), 0, device.columns(x, 4, 8))],
  ["headDim", () => rope(5, 4, [8, 8], positions)],
  ["headDim", () => rope(17, 4, [8, 8], positions)],
  ["rotaryDim", () => rope(8, 10, [20, 20], positions)],
  ["rotaryDim", () => rope(8, 3, [8, 8], positions)],
  ["cos", () => rope(8, 8, [15, 15], positions)],
  ["sin", () => rope(8, 8, [16, 12], positions)],
  ["positions", () => rope(8, 8, [12, 12], positions)],
  ["positions", () => rope(8, 8, [16, 16], Int32Array.of(0))],
  ["sequenceLengths", () => attend({ sequenceLengths: Int32Array.of(5) })],
  ["sequenceLengths", () => attend({ sequenceLengths: Int32Array.of(4, 0) })],
  ["sequenceLengths", () => attend({ sequenceLengths: Int32Array.of(5, -1) })],
  ["kvHeads", () => attend({ kvHeads: 3 })],
  ["kvHeads", () => attend({ kvHeads: 5 })],
  ["q", () => attend({ headDim: 8 })],
  ["k", () => attend({}, device.allocate(4, 16))],
  ["k", () => attend({}, device.allocate(3, 8))],
  ["scale", () => attend({ scale: 0 })],
  ["scale", () => attend({ scale: Infinity })],
  ["slidingWindow", () => attend({ slidingWindow: 0 })],
  ["up", () => device.siluMul(x, out, device.allocate(4, 16))],
  ["out", () => device.siluMul(x, x, out)],
  ["y", () => device.add(x, out)],
];

for (const [argument, call] of rangeErrors) {
  test(`${call.toString().slice(6)} is a RangeError about ${argument}`, () => {
    assert.throws(call, { name: "RangeError", message: new RegExp(`^${argument}: expected .* got `, "s") });
  });
}

const rejections: [string, () => Promise<unknown>][] = [
  ["targets", () => device.nll(out, Int32Array.of(0, 0, 0, 8))],
  ["targets", () => device.nll(out, Int32Array.of(0, 0, 0))],
  ["targets", () => device.compare(out, out, Int32Array.of(0, 0, -1, 0))],
  ["logits", () => device.compare(x, out, positions)],
  ["b", () => device.firstDifference(x, out)],
  ["words", () => device.quantiseFp8(bytes(9), 1, 4)],
  ["words", () => device.toHalf(bytes(6), "fp32")],
  ["dtype", () => device.toHalf(bytes(6), "fp16" as "bf16")],
];

for (const [argument, call] of rejections) {
  test(`${call.toString().slice(6)} rejects with a RangeError about ${argument}`, async () => {
    const message = new RegExp(`^${argument}: expected .* got `, "s");
    await assert.rejects(call(), { name: "RangeError", message });
  });
}

test("a message names the argument, the expected and the actual shape", () => {
  assert.throws(() => device.linear(x, fp16, device.allocate(4, 9), halfPrecision), {
    message: "out: expected 4 x 8, got 4 x 9",
  });
});

test("handles of another kind, of another device, freed ones and other values are TypeErrors", () => {
  const freed = device.allocate(4, 16);
  device.free(freed);
  const wrong: [Activations, RegExp][] = [
    [fp16 as unknown as Activations, /^x: expected activations, got /],
    [constants(64) as unknown as Activations, /^x: expected activations, got /],
    [other.allocate(4, 16), /^x: expected a handle of this device, got another device's$/],
    [freed, /^x: expected a live handle, got a freed one$/],
    [{ rows: 4, cols: 16 } as Activations, /^x: expected a handle of this device, got undefined$/],
    [undefined as unknown as Activations, /^x: expected a handle of this device, got undefined$/],
  ];
  for (const [handle, message] of wrong) {
    assert.throws(() => device.linear(handle, fp16, out, halfPrecision), { name: "TypeError", message });
  }
  assert.throws(() => device.linear(x, half(other), out, halfPrecision), { name: "TypeError" });
  assert.throws(() => device.free(freed), { name: "TypeError", message: /freed/ });
});

test("arrays of another type are TypeErrors", () => {
  assert.throws(() => device.upload(new Float64Array(64) as unknown as Float32Array, x), {
    name: "TypeError",
    message: "values: expected a Float32Array, got another typed array",
  });
  assert.throws(() => device.embedding(table, [0, 1, 2, 3] as unknown as Int32Array, x), {
    name: "TypeError",
    message: /^ids: expected an Int32Array, got /,
  });
});

test("threads and implementation are checked", () => {
  for (const threads of [0, -1, 1.5, 1e6, NaN]) {
    assert.throws(() => createCpuDevice({ threads }), { name: "RangeError", message: /^threads: / });
  }
  assert.throws(() => createCpuDevice({ threads: 1, implementation: "mmx" }), {
    name: "RangeError",
    message: /^implementation: this CPU runs .*scalar, got "mmx"$/,
  });
});
