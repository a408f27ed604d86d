import assert from "node:assert/strict";
import { test } from "node:test";

import {
  bf16ToNumber,
  decompose,
  e4m3ToNumber,
  halfToNumber,
  isCanonical,
  isEligible,
  reconstruct,
  roundToBf16,
  roundToE4m3,
  roundToHalf,
  rowShiftOf,
} from "../../src/codec/reference.ts";

const allWords = Array.from({ length: 0x10000 }, (_, word) => word);
const eligible = allWords.filter(isEligible);

/** Written again, by fields, so that an error in the rounding code cannot hide itself. */
function fieldsToNumber(bits: number, exponentBits: number, fractionBits: number): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const fraction = bits % 2 ** fractionBits;
  const exponent = Math.floor(bits / 2 ** fractionBits) % 2 ** exponentBits;
  const sign = bits >= 2 ** (exponentBits + fractionBits) ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits);
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
}

/** The index of the nearest of ascending values; of two that are equally near, the even index. */
function nearest(values: readonly number[], target: number): number {
  let best = 0;
  values.forEach((value, index) => {
    const distance = Math.abs(value - target);
    const least = Math.abs((values[best] ?? 0) - target);
    if (distance < least || (distance === least && index % 2 === 0)) best = index;
  });
  return best;
}

test("halfToNumber and e4m3ToNumber read the fields of the word", () => {
  for (const word of allWords.filter((word) => (word & 0x7c00) !== 0x7c00)) {
    assert.equal(halfToNumber(word), fieldsToNumber(word, 5, 10), `word ${word}`);
  }
  for (let byte = 0; byte < 256; byte++) {
    if ((byte & 0x7f) === 0x7f) assert.ok(Number.isNaN(e4m3ToNumber(byte)));
    else assert.equal(e4m3ToNumber(byte), fieldsToNumber(byte, 4, 3), `byte ${byte}`);
  }
});

test("halfToNumber knows infinities and NaN", () => {
  assert.equal(halfToNumber(0x7c00), Infinity);
  assert.equal(halfToNumber(0xfc00), -Infinity);
  assert.ok(Number.isNaN(halfToNumber(0x7c01)));
  assert.ok(Number.isNaN(halfToNumber(0xffff)));
});

test("roundToHalf keeps every half, and sends ties between neighbours to the even one", () => {
  for (let word = 0; word < 0x7bff; word++) {
    const value = halfToNumber(word);
    const next = halfToNumber(word + 1);
    const tie = (value + next) / 2;
    const ulp = (next - value) * 2 ** -30;
    assert.equal(roundToHalf(value), word);
    assert.equal(roundToHalf(-value), word | 0x8000);
    assert.equal(roundToHalf(tie), word % 2 === 0 ? word : word + 1);
    assert.equal(roundToHalf(tie - ulp), word);
    assert.equal(roundToHalf(tie + ulp), word + 1);
  }
});

test("roundToHalf overflows from 65520 on and keeps the sign of zeros", () => {
  assert.equal(roundToHalf(65519.99), 0x7bff);
  assert.equal(roundToHalf(65520), 0x7c00);
  assert.equal(roundToHalf(-1e30), 0xfc00);
  assert.equal(roundToHalf(-0), 0x8000);
  assert.equal(roundToHalf(-1e-30), 0x8000);
  assert.equal(roundToHalf(5e-324), 0);
});

test("roundToBf16 keeps every finite bfloat16 word", () => {
  for (const word of allWords.filter((word) => (word & 0x7f80) !== 0x7f80)) {
    assert.equal(roundToBf16(bf16ToNumber(word)), word);
  }
});

test("the eligible words are the 32,512 below 1.875", () => {
  assert.equal(eligible.length, 32512);
  assert.deepEqual(
    eligible,
    allWords.filter((word) => (word & 0x7fff) < 0x3f80),
  );
});

test("the upper byte is the nearest E4M3 value to 256 times the word, ties to even, saturating", () => {
  const magnitudes = Array.from({ length: 127 }, (_, byte) => fieldsToNumber(byte, 4, 3));
  for (const word of eligible.filter((word) => word < 0x8000)) {
    const expected = nearest(magnitudes, 256 * fieldsToNumber(word, 5, 10));
    assert.equal(decompose(word).upper, expected, `word 0x${word.toString(16)}`);
    assert.equal(decompose(word | 0x8000).upper, expected | 0x80, `word 0x${(word | 0x8000).toString(16)}`);
  }
});

test("the one-line encoder of FORMAT.md gives the same upper byte", () => {
  for (const word of eligible) {
    const mag = word & 0x7fff;
    const u = Math.min((mag + 63 + ((mag >> 7) & 1)) >> 7, 0x7e);
    assert.equal(decompose(word).upper, ((word >> 8) & 0x80) | u);
  }
});

test("reconstruct inverts decompose on all 32,512 eligible words", () => {
  for (const word of eligible) assert.equal(reconstruct(decompose(word)), word);
});

test("exactly 32,512 of the 65,536 pairs are canonical", () => {
  const pairs = allWords.map((bits) => ({ upper: bits >> 8, lower: bits & 0xff }));
  assert.equal(pairs.filter(isCanonical).length, 32512);
});

test("128 non-zero words have upper magnitude 0 and 126 saturate", () => {
  const vanishing = eligible.filter((word) => (word & 0x7fff) !== 0 && (decompose(word).upper & 0x7f) === 0);
  const saturating = eligible.filter((word) => Math.abs(halfToNumber(word)) > 1.8125);
  assert.equal(vanishing.length, 128);
  assert.ok(vanishing.every((word) => Math.abs(halfToNumber(word)) <= 2 ** -18));
  assert.equal(saturating.length, 126);
  assert.ok(saturating.every((word) => (decompose(word).upper & 0x7f) === 0x7e));
});

test("the upper byte read as half is E4M3 times 2^-8", () => {
  for (let byte = 0; byte < 256; byte++) {
    if ((byte & 0x7f) === 0x7f) continue;
    assert.equal(halfToNumber(((byte & 0x80) << 8) | ((byte & 0x7f) << 7)), e4m3ToNumber(byte) * 2 ** -8);
  }
});

test("roundToE4m3 saturates at 448", () => {
  assert.equal(roundToE4m3(1e6), 0x7e);
  assert.equal(roundToE4m3(-449), 0xfe);
});

test("rowShiftOf is the smallest shift below 1.875 after rounding", () => {
  assert.equal(rowShiftOf(0), 0);
  assert.equal(rowShiftOf(1.874), 0);
  // Not 0: half() rounds it up to 1.875.
  assert.equal(rowShiftOf(1.8749), 1);
  assert.equal(rowShiftOf(1.875), 1);
  assert.equal(rowShiftOf(3.75), 2);
  assert.equal(rowShiftOf(61408), 15);
  assert.equal(rowShiftOf(61440), 255);
  assert.equal(rowShiftOf(Infinity), 255);
  assert.equal(rowShiftOf(NaN), 255);
});
