import type { Precision } from "../device/device.ts";

/** Weights as values that a multiplication by hand reads one at a time. */
export type ReferenceWeights = {
  readonly kernel: Precision;
  readonly words: Uint8Array;
  readonly upper: Uint8Array;
  /** Of fp8, by row. */
  readonly scales: Float32Array;
};

/**
 * out[t, n] in double precision, as src/device/device.ts defines the kernel: the independent answer that a fast one is
 * checked against. FP8 kernels see activations as E4M3 with one scale per token.
 */
export function referenceDot(
  weights: ReferenceWeights,
  n: number,
  x: Float32Array,
  token: number,
  k: number,
): number {
  const row = x.subarray(token * k, (token + 1) * k);
  const sixteen = weights.kernel === "fp16" || weights.kernel === "nested-fp16";
  const scale = sixteen ? 1 : tokenScale(row);
  let sum = 0;
  for (let i = 0; i < k; i++) {
    const value = row[i] ?? Number.NaN;
    const weight = sixteen
      ? halfValue(weights.words, n * k + i)
      : e4m3Value(weights.upper[n * k + i] ?? 0x7f);
    sum += weight * (sixteen ? value : e4m3Rounded(Math.fround(value / scale)));
  }
  if (weights.kernel === "nested-fp8") return (sum * scale) / 256;
  return weights.kernel === "fp8" ? sum * scale * (weights.scales[n] ?? Number.NaN) : sum;
}

function tokenScale(row: Float32Array): number {
  const largest = row.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return largest === 0 ? 1 : Math.fround(largest / 448);
}

/** Of a finite binary16 word, little-endian. */
function halfValue(words: Uint8Array, index: number): number {
  const word = (words[2 * index] ?? 0) | ((words[2 * index + 1] ?? 0) << 8);
  const exponent = (word >> 10) & 31;
  const magnitude = exponent === 0 ? (word & 1023) / 1024 : 1 + (word & 1023) / 1024;
  return (word & 0x8000 ? -1 : 1) * magnitude * 2 ** (Math.max(exponent, 1) - 15);
}

/** Of a finite E4M3FN byte. */
function e4m3Value(byte: number): number {
  const exponent = (byte >> 3) & 15;
  const magnitude = exponent === 0 ? (byte & 7) / 8 : 1 + (byte & 7) / 8;
  return (byte & 0x80 ? -1 : 1) * magnitude * 2 ** (Math.max(exponent, 1) - 7);
}

/** The E4M3 value nearest to `value`, ties to even, saturating at 448. */
function e4m3Rounded(value: number): number {
  const magnitude = Math.abs(value);
  if (magnitude === 0) return 0;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -6);
  const step = 2 ** (exponent - 3);
  const steps = magnitude / step;
  const below = Math.floor(steps);
  const rest = steps - below;
  const rounded = rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  return Math.sign(value) * Math.min(448, rounded * step);
}
