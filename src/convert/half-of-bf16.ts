import { bf16ToNumber, roundToHalf } from "../codec/reference.ts";

/** For each of the 65,536 BF16 words its value rounded to the nearest binary16 word (ties to even). */
export function halfOfBf16Table(): Uint16Array {
  return Uint16Array.from({ length: 0x10000 }, (_, word) => roundToHalf(bf16ToNumber(word)));
}
