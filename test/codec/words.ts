import { type SourceDtype, sourceBytes } from "../../src/codec/codec.ts";
import { bf16ToNumber, halfToNumber, isEligible, shiftedHalf } from "../../src/codec/reference.ts";

/** Words given as integers, little-endian. */
export function bytesOf(dtype: SourceDtype, words: readonly number[]): Uint8Array {
  const width = sourceBytes[dtype];
  const view = new DataView(new ArrayBuffer(words.length * width));
  words.forEach((word, at) => {
    if (width === 4) view.setUint32(at * 4, word, true);
    else view.setUint16(at * 2, word, true);
  });
  return new Uint8Array(view.buffer);
}

export function numberOf(dtype: SourceDtype, word: number): number {
  if (dtype === "F16") return halfToNumber(word);
  if (dtype === "BF16") return bf16ToNumber(word);
  return new Float32Array(Uint32Array.of(word).buffer)[0] ?? 0;
}

/** All 65,536 words of a 16-bit dtype that are eligible under a shift. */
export function eligibleWords(dtype: "F16" | "BF16", shift: number): number[] {
  return Array.from({ length: 0x10000 }, (_, word) => word).filter((word) =>
    isEligible(shiftedHalf(numberOf(dtype, word), shift)),
  );
}

/** Random bits, and the neighbours of every kind of edge, of binary32 words that are eligible under a shift. */
export function float32Words(shift: number, random: () => number, count: number): number[] {
  const words: number[] = [0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000];
  while (words.length < count) {
    words.push(Math.floor(random() * 2 ** 32));
    // Halfway between two halves, where rounding decides, and its neighbours.
    const half = Math.floor(random() * 0x3f80);
    const tie = ((halfToNumber(half) + halfToNumber(half + 1)) / 2) * 2 ** shift;
    const bits = new Uint32Array(Float32Array.of(tie).buffer)[0] ?? 0;
    const sign = random() < 0.5 ? 0x80000000 : 0;
    for (const near of [bits, bits + 1, Math.max(bits - 1, 0)]) words.push((near | sign) >>> 0);
  }
  return words.filter((word) => isEligible(shiftedHalf(numberOf("F32", word), shift)));
}

/** Words as weights are: a narrow bell around zero, with some zeros of both signs. */
export function weightWords(
  dtype: SourceDtype,
  count: number,
  sigma: number,
  random: () => number,
): number[] {
  return Array.from({ length: count }, () => {
    const draw = random();
    if (draw < 0.01) return 0;
    const value = sigma * (random() + random() + random() + random() - 2);
    const bits = new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
    if (dtype === "F32") return bits;
    return dtype === "BF16" ? bits >>> 16 : shiftedHalf(value, 0);
  });
}
