/** The exports of native/addon.cc. Every method throws at once on a wrong argument; src/codec says what each does. */
export type NativeBinding = {
  /** Names of the implementations that this CPU runs, best first; "scalar" is the last. */
  implementations(): string[];
  readonly Pool: new (threads: number, implementation: string) => NativePool;
  /**
   * An exclusive flock(2) on an open file, held until the descriptor is closed or the process ends.
   * @returns false when another process, or another open of the file, holds it.
   * @throws an Error with `code` (EBADF, ENOLCK, ...).
   */
  tryLock(fd: number): boolean;
};

export type NativeDtype = "F16" | "BF16" | "F32";

/** Threads of its own and the operations on them. The arrays must not be touched until the promise settles. */
export type NativePool = {
  scanRows(
    words: Uint8Array,
    dtype: NativeDtype,
    cols: number,
    shifts: Uint8Array,
  ): Promise<{ maxAbs: number; inexact: number; underflow: number }>;
  countLosses(
    words: Uint8Array,
    dtype: NativeDtype,
    cols: number,
    shifts: Uint8Array,
  ): Promise<{ inexact: number; underflow: number }>;
  splitRows(
    words: Uint8Array,
    dtype: NativeDtype,
    cols: number,
    shifts: Uint8Array,
    upper: Uint8Array,
    lower: Uint8Array,
  ): Promise<void>;
  collectPatches(
    words: Uint8Array,
    dtype: NativeDtype,
    cols: number,
    shifts: Uint8Array,
    base: number,
    index: Uint8Array,
    indexBytes: number,
    value: Uint8Array,
  ): Promise<number>;
  joinRows(
    upper: Uint8Array,
    lower: Uint8Array,
    dtype: NativeDtype,
    cols: number,
    shifts: Uint8Array,
    words: Uint8Array,
  ): Promise<void>;
  countNonCanonical(upper: Uint8Array, lower: Uint8Array): Promise<number>;
  noiseOf(
    words: Uint8Array,
    dtype: NativeDtype,
    cols: number,
    shifts: Uint8Array,
    upper: Uint8Array,
  ): Promise<{ signal: number; noise: number }>;
  crc32(bytes: Uint8Array, seed: number): Promise<number>;
  /** A running hash, or null where the process exports no OpenSSL. */
  sha256(): NativeSha256 | null;
  /** The threads end when the pending promises have settled; every later call throws. */
  close(): void;
};

export type NativeSha256 = {
  update(bytes: Uint8Array): Promise<void>;
  digest(): Promise<string>;
};
