import { bfloat16, e4m3, half, magnitudeToNumber, roundToMagnitude } from "./binary-format.ts";
import { maxRowShift, shiftOutOfRange } from "./codec.ts";

/** One eligible binary16 word as two bytes (FORMAT.md §1). */
export type Pair = { readonly upper: number; readonly lower: number };

/** The limit of losslessness: at 1.875 the upper byte would round to E4M3's NaN. */
const maxAbsExclusive = 1.875;

/** Whether the overlay can hold a binary16 word; NaN is not. */
export function isEligible(word: number): boolean {
  return Math.abs(halfToNumber(word)) < maxAbsExclusive;
}

/** upper = E4M3(256 * value), nearest even, saturating; lower = the low byte of the word. */
export function decompose(word: number): Pair {
  return { upper: roundToE4m3(256 * halfToNumber(word)), lower: word & 0xff };
}

/** The inverse on the 32,512 pairs that decompose gives, and the formula of FORMAT.md §1 on the others. */
export function reconstruct({ upper, lower }: Pair): number {
  const roundedUp = (upper & 1) ^ (lower >> 7);
  const high = (upper & 0x80) | (((upper - roundedUp) >> 1) & 0x3f);
  return (high << 8) | lower;
}

export function isCanonical(pair: Pair): boolean {
  const word = reconstruct(pair);
  return isEligible(word) && decompose(word).upper === pair.upper;
}

/**
 * The shift of a row whose largest magnitude is `maxAbs` (FORMAT.md §2): the smallest s in 0..15 with
 * half(maxAbs * 2^-s) < 1.875, or {@link shiftOutOfRange}, also for NaN and Infinity.
 */
export function rowShiftOf(maxAbs: number): number {
  for (let shift = 0; shift <= maxRowShift; shift++) {
    if (isEligible(shiftedHalf(maxAbs, shift))) return shift;
  }
  return shiftOutOfRange;
}

/** half(value * 2^-shift), rounded once: the product of a binary32 value is exact in a double. */
export function shiftedHalf(value: number, shift: number): number {
  return roundToHalf(value * 2 ** -shift);
}

const halfInfinity = 0x7c00;
const halfNan = 0x7e00;
const e4m3Nan = 0x7f;

function isNegative(value: number): boolean {
  return value < 0 || Object.is(value, -0);
}

/** The binary16 word nearest to a number, ties to even; overflow gives infinity. */
export function roundToHalf(value: number): number {
  const sign = isNegative(value) ? 0x8000 : 0;
  if (Number.isNaN(value)) return halfNan;
  if (Math.abs(value) === Infinity) return sign | halfInfinity;
  return sign | Math.min(roundToMagnitude(half, Math.abs(value)), halfInfinity);
}

export function halfToNumber(word: number): number {
  const magnitude = word & 0x7fff;
  const sign = word & 0x8000 ? -1 : 1;
  if (magnitude > halfInfinity) return NaN;
  if (magnitude === halfInfinity) return sign * Infinity;
  return sign * magnitudeToNumber(half, magnitude);
}

/** The bfloat16 word nearest to a finite number, ties to even. */
export function roundToBf16(value: number): number {
  return (isNegative(value) ? 0x8000 : 0) | roundToMagnitude(bfloat16, Math.abs(value));
}

const bits = new DataView(new ArrayBuffer(4));

/** A bfloat16 word is the upper half of a binary32 word. */
export function bf16ToNumber(word: number): number {
  bits.setUint16(0, word);
  return bits.getFloat32(0);
}

/** E4M3FN: no infinities, NaN is 0x7F and 0xFF. */
export function e4m3ToNumber(byte: number): number {
  const magnitude = byte & 0x7f;
  if (magnitude === e4m3Nan) return NaN;
  return (byte & 0x80 ? -1 : 1) * magnitudeToNumber(e4m3, magnitude);
}

/** The E4M3FN byte nearest to a finite number, ties to even, saturating at 448. */
export function roundToE4m3(value: number): number {
  return (isNegative(value) ? 0x80 : 0) | Math.min(roundToMagnitude(e4m3, Math.abs(value)), e4m3Nan - 1);
}
