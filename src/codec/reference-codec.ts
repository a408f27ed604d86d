import { createHash } from "node:crypto";

import { type Block, checkBlock, checkShifts, checkSize, shiftOf, viewOf, wordsOf } from "./block.ts";
import {
  type Codec,
  type Losses,
  type NoiseSums,
  type RowScan,
  type Sha256,
  type SourceDtype,
  shiftOutOfRange,
} from "./codec.ts";
import { crc32 } from "./crc32.ts";
import {
  decompose,
  e4m3ToNumber,
  halfToNumber,
  isCanonical,
  reconstruct,
  roundToBf16,
  roundToHalf,
  rowShiftOf,
  shiftedHalf,
} from "./reference.ts";

/** The operations on blocks by the plain lines of reference.ts: the oracle of the native codec, and much slower. */
export function referenceCodec(): Codec {
  return {
    name: "reference",
    scanRows: async (words, dtype, cols, shifts) => scanRows({ words, dtype, cols, shifts }),
    countLosses: async (words, dtype, cols, shifts) => {
      checkShifts(shifts);
      return countLosses({ words, dtype, cols, shifts });
    },
    splitRows: async (words, dtype, cols, shifts, upper, lower) =>
      splitRows({ words, dtype, cols, shifts }, upper, lower),
    collectPatches: async (words, dtype, cols, shifts, base, index, indexBytes, value) =>
      collectPatches({ words, dtype, cols, shifts }, base, index, indexBytes, value),
    joinRows: async (upper, lower, dtype, cols, shifts, words) =>
      joinRows(upper, lower, { words, dtype, cols, shifts }),
    countNonCanonical: async (upper, lower) => countNonCanonical(upper, lower),
    noiseOf: async (words, dtype, cols, shifts, upper) => noiseOf({ words, dtype, cols, shifts }, upper),
    crc32: async (bytes, seed) => crc32(bytes, seed),
    sha256: () => syncSha256(),
    close: () => {},
  };
}

/** SHA-256 by node:crypto, on the calling thread. */
export function syncSha256(): Sha256 {
  const hash = createHash("sha256");
  return {
    update: async (bytes) => {
      hash.update(bytes);
    },
    digest: async () => hash.digest("hex"),
  };
}

function scanRows(block: Block): RowScan {
  checkBlock(block);
  const rowMax = new Float64Array(block.shifts.length);
  // Math.max gives NaN when one of its arguments is.
  for (const { row, value } of wordsOf(block)) rowMax[row] = Math.max(rowMax[row] ?? 0, Math.abs(value));
  rowMax.forEach((maxAbs, row) => {
    block.shifts[row] = rowShiftOf(maxAbs);
  });
  return { maxAbs: rowMax.reduce((a, b) => Math.max(a, b), 0), ...countLosses(block) };
}

/** Over the rows whose shift is in range. */
function countLosses(block: Block): Losses {
  checkBlock(block);
  let inexact = 0;
  let underflow = 0;
  for (const { row, value } of wordsOf(block)) {
    const shift = shiftOf(block, row);
    if (shift === shiftOutOfRange || isExact(value, shift)) continue;
    inexact++;
    if (halfToNumber(shiftedHalf(value, shift)) === 0) underflow++;
  }
  return { inexact, underflow };
}

function isExact(value: number, shift: number): boolean {
  return Object.is(halfToNumber(shiftedHalf(value, shift)) * 2 ** shift, value);
}

function splitRows(block: Block, upper: Uint8Array, lower: Uint8Array): void {
  checkBlock(block);
  checkShifts(block.shifts);
  checkSize("upper", upper, block.shifts.length * block.cols);
  checkSize("lower", lower, block.shifts.length * block.cols);
  for (const { at, row, value } of wordsOf(block)) {
    const pair = decompose(shiftedHalf(value, shiftOf(block, row)));
    upper[at] = pair.upper;
    lower[at] = pair.lower;
  }
}

function collectPatches(
  block: Block & { readonly dtype: "F16" | "BF16" },
  base: number,
  index: Uint8Array,
  indexBytes: 4 | 8,
  value: Uint8Array,
): number {
  checkBlock(block);
  checkShifts(block.shifts);
  const most = indexBytes === 4 ? 2 ** 32 : Number.MAX_SAFE_INTEGER;
  if (base < 0 || base + block.words.length / 2 > most) {
    throw new RangeError(`base: expected a block that ends at most at ${most}, got ${base}`);
  }
  const capacity = Math.min(Math.floor(index.length / indexBytes), Math.floor(value.length / 2));
  let found = 0;
  for (const { at, row, value: source } of wordsOf(block)) {
    if (isExact(source, shiftOf(block, row))) continue;
    if (found < capacity) {
      const position = base + at;
      if (indexBytes === 4) viewOf(index).setUint32(found * 4, position, true);
      else viewOf(index).setBigUint64(found * 8, BigInt(position), true);
      value.set(block.words.subarray(at * 2, at * 2 + 2), found * 2);
    }
    found++;
  }
  if (found > capacity) {
    throw new RangeError(`index, value: expected room for ${found} patches, got room for ${capacity}`);
  }
  return found;
}

function joinRows(upper: Uint8Array, lower: Uint8Array, block: Block): void {
  checkBlock(block);
  checkShifts(block.shifts);
  checkSize("upper", upper, block.shifts.length * block.cols);
  checkSize("lower", lower, block.shifts.length * block.cols);
  const view = viewOf(block.words);
  for (const { at, row } of wordsOf(block)) {
    const half = reconstruct({ upper: upper[at] ?? 0, lower: lower[at] ?? 0 });
    storeWord(view, block.dtype, at, halfToNumber(half) * 2 ** shiftOf(block, row));
  }
}

function storeWord(view: DataView, dtype: SourceDtype, at: number, value: number): void {
  switch (dtype) {
    case "F16":
      view.setUint16(at * 2, roundToHalf(value), true);
      break;
    case "BF16":
      view.setUint16(at * 2, roundToBf16(value), true);
      break;
    case "F32":
      view.setFloat32(at * 4, value, true);
      break;
  }
}

function countNonCanonical(upper: Uint8Array, lower: Uint8Array): number {
  checkSize("lower", lower, upper.length);
  let wrong = 0;
  upper.forEach((byte, at) => {
    if (!isCanonical({ upper: byte, lower: lower[at] ?? 0 })) wrong++;
  });
  return wrong;
}

/** Eight running sums, by column modulo 8: the order in which the native codec adds, so the sums are equal. */
function noiseOf(block: Block, upper: Uint8Array): NoiseSums {
  checkBlock(block);
  checkShifts(block.shifts);
  checkSize("upper", upper, block.shifts.length * block.cols);
  const signal = new Float64Array(8);
  const noise = new Float64Array(8);
  for (const { at, row, col, value } of wordsOf(block)) {
    const view = e4m3ToNumber(upper[at] ?? 0) * 2 ** (shiftOf(block, row) - 8);
    signal[col % 8] = (signal[col % 8] ?? 0) + value * value;
    noise[col % 8] = (noise[col % 8] ?? 0) + (value - view) ** 2;
  }
  return { signal: sum(signal), noise: sum(noise) };
}

function sum(lanes: Float64Array): number {
  return lanes.reduce((total, lane) => total + lane, 0);
}
