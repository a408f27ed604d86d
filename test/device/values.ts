import assert from "node:assert/strict";

import { decompose, halfToNumber, reconstruct, roundToHalf } from "../../src/codec/reference.ts";
import type { Activations, Device } from "../../src/device/device.ts";

/** A bell around zero; every 50th value is 20 times as far out, as in real activations. */
export function activationValues(count: number, random: () => number): Float32Array {
  return Float32Array.from({ length: count }, (_, k) => {
    const value = random() + random() + random() + random() - 2;
    return k % 50 === 7 ? 20 * value : value;
  });
}

/** Eligible binary16 words (below 1.875), with zeros of both signs and subnormals among them. */
export function eligibleWords(count: number, random: () => number): Uint16Array {
  return Uint16Array.from({ length: count }, () => {
    const draw = random();
    const sign = random() < 0.5 ? 0x8000 : 0;
    if (draw < 0.02) return sign;
    if (draw < 0.1) return sign | Math.floor(random() * 0x400);
    if (draw < 0.3) return sign | Math.floor(random() * 0x3f80);
    return roundToHalf(0.5 * (random() + random() + random() + random() - 2));
  });
}

/** The bytes of words at an odd address. */
export function unalignedBytes(words: ArrayLike<number>, width: 1 | 2 = 2): Uint8Array {
  const bytes = new Uint8Array(words.length * width + 1).subarray(1);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let k = 0; k < words.length; k++) {
    if (width === 2) view.setUint16(2 * k, words[k] ?? 0, true);
    else view.setUint8(k, words[k] ?? 0);
  }
  return bytes;
}

/** Both planes of eligible words, at odd addresses. */
export function planesOf(words: Uint16Array): { upper: Uint8Array; lower: Uint8Array } {
  const pairs = Array.from(words, decompose);
  for (const [k, pair] of pairs.entries()) assert.equal(reconstruct(pair), words[k]);
  return {
    upper: unalignedBytes(
      pairs.map(({ upper }) => upper),
      1,
    ),
    lower: unalignedBytes(
      pairs.map(({ lower }) => lower),
      1,
    ),
  };
}

/** words * 2^shift of each row of `cols`, exact. */
export function shiftedWords(words: Uint16Array, cols: number, shifts: Uint8Array): Uint16Array {
  return words.map((word, k) => {
    const value = halfToNumber(word) * 2 ** (shifts[Math.floor(k / cols)] ?? 0);
    assert.equal(halfToNumber(roundToHalf(value)), value);
    return roundToHalf(value) | (word & 0x8000);
  });
}

/** New activations with these values. */
export function uploaded(device: Device, values: Float32Array, rows: number, cols: number): Activations {
  const x = device.allocate(rows, cols);
  device.upload(values, x);
  return x;
}

/** What an operation writes to fresh activations [rows, cols]. */
export async function resultOf(
  device: Device,
  rows: number,
  cols: number,
  operation: (out: Activations) => void,
): Promise<Float32Array> {
  const out = device.allocate(rows, cols);
  operation(out);
  const values = await device.download(out);
  device.free(out);
  return values;
}

/** Each value within `tolerance` times its own scale: what the sum of magnitudes behind it allows. */
export function assertClose(
  actual: Float32Array,
  expected: ArrayLike<number>,
  tolerance: (k: number) => number,
  what: string,
): void {
  assert.equal(actual.length, expected.length, what);
  actual.forEach((value, k) => {
    const error = Math.abs(value - (expected[k] ?? Number.NaN));
    assert.ok(
      error <= tolerance(k),
      `${what}: [${k}] is ${value}, expected ${expected[k]} within ${tolerance(k)}`,
    );
  });
}

export function assertSameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(actual.length, expected.length, what);
  const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
  const [a, b] = [bits(actual), bits(expected)];
  const at = a.findIndex((word, k) => word !== b[k]);
  assert.equal(at, -1, `${what}: [${at}] is ${actual[at]}, expected ${expected[at]}`);
}
