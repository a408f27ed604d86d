/** The dtypes of safetensors, in the library's order: by alignment, then by when they were added (FORMAT.md §9). */
export const dtypes = [
  "BOOL",
  "F4",
  "F6_E2M3",
  "F6_E3M2",
  "U8",
  "I8",
  "F8_E5M2",
  "F8_E4M3",
  "F8_E8M0",
  "F8_E4M3FNUZ",
  "F8_E5M2FNUZ",
  "I16",
  "U16",
  "F16",
  "BF16",
  "I32",
  "U32",
  "F32",
  "C64",
  "F64",
  "I64",
  "U64",
] as const;

export type Dtype = (typeof dtypes)[number];

/** Bits of one word. */
export const dtypeBits: Readonly<Record<Dtype, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

const ranks: ReadonlyMap<string, number> = new Map(dtypes.map((dtype, rank) => [dtype, rank]));

export function isDtype(name: string): name is Dtype {
  return ranks.has(name);
}

/** Position in {@link dtypes}; larger is stored first (FORMAT.md §4). */
export function dtypeRank(dtype: Dtype): number {
  return ranks.get(dtype) ?? -1;
}

/** Words of a tensor: the product of its shape, 1 for a scalar, Infinity above 2^53 - 1. */
export function tensorWords(shape: readonly number[]): number {
  // First, so that a zero is found in any position, also behind a product that overflows.
  if (shape.includes(0)) return 0;
  let words = 1;
  for (const dim of shape) {
    words *= dim;
    if (!Number.isSafeInteger(words)) return Infinity;
  }
  return words;
}

/** Bytes of a tensor; Infinity above 2^53 - 1, NaN when F4 or F6 words do not fill whole bytes. */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number {
  const words = tensorWords(shape);
  const bits = dtypeBits[dtype];
  if (bits % 8 === 0) return orInfinity(words * (bits / 8));
  // 2 words of F4 are 1 byte, 4 words of F6 are 3 bytes: divided first, so that no step leaves the integers.
  const wordsPerGroup = bits === 4 ? 2 : 4;
  if (words === Infinity) return Infinity;
  return words % wordsPerGroup === 0 ? (words / wordsPerGroup) * ((wordsPerGroup * bits) / 8) : Number.NaN;
}

function orInfinity(bytes: number): number {
  return Number.isSafeInteger(bytes) ? bytes : Infinity;
}
