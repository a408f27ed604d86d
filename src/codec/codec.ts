/** Source words that the codec can split: IEEE binary16, bfloat16, IEEE binary32 (little-endian bytes). */
export type SourceDtype = "F16" | "BF16" | "F32";

/** Bytes of one source word. */
export const sourceBytes = { F16: 2, BF16: 2, F32: 4 } as const satisfies Record<SourceDtype, number>;

/** The largest row shift that keeps the FP8 view inside FP16 in stock engines (FORMAT.md §2). */
export const maxRowShift = 15;

/** `shifts[row]` of a row that needs more than {@link maxRowShift}, or that holds a NaN or an infinity. */
export const shiftOutOfRange = 255;

/** What a scan says of a block of rows. */
export type RowScan = {
  /** max |w|; Infinity or NaN when the block holds one (NaN wins). */
  readonly maxAbs: number;
  /** Words that half(w * 2^-s) does not keep exactly, over rows whose shift is in range. */
  readonly inexact: number;
  /** Those of `inexact` that become zero. */
  readonly underflow: number;
};

/** Words lost, see {@link RowScan}. */
export type Losses = { readonly inexact: number; readonly underflow: number };

/** Sums for the signal-to-quantisation-noise ratio of the FP8 view: sum w^2, sum (w - E4M3(upper) 2^(s-8))^2. */
export type NoiseSums = { readonly signal: number; readonly noise: number };

/**
 * The arithmetic of FORMAT.md §1 and §2 on blocks of rows. Bytes are little-endian, row-major, `cols` words a
 * row; the block holds `shifts.length` whole rows (a piece of one long row is a block of one row whose `cols`
 * is the piece's length). No argument needs an alignment. Buffers must not be touched until the promise settles.
 * Wrong sizes reject with a RangeError that names the argument, the expected and the actual size.
 */
export type Codec = {
  /** "reference", "scalar", "avx2", "avx512", "neon". */
  readonly name: string;
  /** Fills `shifts` with the smallest row shift of each row, or {@link shiftOutOfRange}. */
  scanRows(words: Uint8Array, dtype: SourceDtype, cols: number, shifts: Uint8Array): Promise<RowScan>;
  /** Counts losses of finite words under given shifts (0..15). */
  countLosses(words: Uint8Array, dtype: SourceDtype, cols: number, shifts: Uint8Array): Promise<Losses>;
  /** Writes one byte a word to each plane: decompose(half(w * 2^-s)). Every word must be eligible under its shift. */
  splitRows(
    words: Uint8Array,
    dtype: SourceDtype,
    cols: number,
    shifts: Uint8Array,
    upper: Uint8Array,
    lower: Uint8Array,
  ): Promise<void>;
  /**
   * Writes the inexact words of a block of F16 or BF16 rows: their positions, `base` + position in the block, as
   * little-endian integers of `indexBytes` (4 or 8) to `index`, and the raw source words to `value`. Ascending.
   * Rejects with a RangeError when they do not fit. @returns how many.
   */
  collectPatches(
    words: Uint8Array,
    dtype: "F16" | "BF16",
    cols: number,
    shifts: Uint8Array,
    base: number,
    index: Uint8Array,
    indexBytes: 4 | 8,
    value: Uint8Array,
  ): Promise<number>;
  /** The inverse of splitRows for exact words: reconstruct(upper, lower) * 2^s as F16, BF16 (RNE) or F32. */
  joinRows(
    upper: Uint8Array,
    lower: Uint8Array,
    dtype: SourceDtype,
    cols: number,
    shifts: Uint8Array,
    words: Uint8Array,
  ): Promise<void>;
  /** Pairs that are not canonical: decompose(reconstruct(upper, lower)) differs, or the word is not eligible. */
  countNonCanonical(upper: Uint8Array, lower: Uint8Array): Promise<number>;
  /** See {@link NoiseSums}; `words` are the source, `upper` their FP8 view. */
  noiseOf(
    words: Uint8Array,
    dtype: SourceDtype,
    cols: number,
    shifts: Uint8Array,
    upper: Uint8Array,
  ): Promise<NoiseSums>;
  /** CRC-32 (IEEE 802.3, as zlib) of `bytes` continued from `seed` (0 to begin). */
  crc32(bytes: Uint8Array, seed: number): Promise<number>;
  /** A running SHA-256. Updates are applied in call order, also when not awaited one by one. */
  sha256(): Sha256;
  /** Releases threads; the codec must not be used afterwards. */
  close(): void;
};

export type Sha256 = {
  update(bytes: Uint8Array): Promise<void>;
  /** Lower-case hex. */
  digest(): Promise<string>;
};
