import type { CudaProbe } from "./cuda-probe.ts";

/** The exports of native/addon.cc. Every method throws at once on a wrong argument; src/codec says what each does. */
export type NativeBinding = {
  /** Names of the implementations that this CPU runs, best first; "scalar" is the last. */
  implementations(): string[];
  readonly Pool: new (threads: number, implementation: string) => NativePool;
  /** Names of the implementations of the CPU device that this CPU runs, best first; "scalar" is the last. */
  cpuImplementations(): string[];
  readonly CpuDevice: new (threads: number, implementation: string) => NativeCpuDevice;
  /**
   * An exclusive flock(2) on an open file, held until the descriptor is closed or the process ends.
   * @returns false when another process, or another open of the file, holds it.
   * @throws an Error with `code` (EBADF, ENOLCK, ...).
   */
  tryLock(fd: number): boolean;
  /** Absent from a build without CUDA support. Never throws: what is missing is part of the answer. */
  readonly probeCuda?: () => CudaProbe;
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

declare const nativeHandle: unique symbol;

/** Memory of one CPU device: activations, constants or weights. */
export type NativeHandle = { readonly [nativeHandle]: never };

/** src/device/device.ts says what each operation does; src/device/cpu.ts maps its arguments to these. */
export type NativeCpuDevice = {
  allocate(rows: number, cols: number): NativeHandle;
  view(x: NativeHandle, firstRow: number, rows: number, firstCol: number, cols: number): NativeHandle;
  constants(values: Float32Array): NativeHandle;
  weights(
    kind: string,
    rows: number,
    cols: number,
    bytes: Uint8Array,
    lowerOrScales?: Uint8Array | Float32Array | undefined,
    shifts?: Uint8Array | undefined,
  ): NativeHandle;
  free(handle: NativeHandle): void;
  upload(values: Float32Array, x: NativeHandle): void;
  download(x: NativeHandle): Promise<Float32Array>;
  finish(): Promise<void>;
  /** The thread ends when the pending promises have settled, without what nobody waits for; later calls throw. */
  close(): void;
  embedding(table: NativeHandle, ids: Int32Array, out: NativeHandle): void;
  rmsNorm(x: NativeHandle, weight: NativeHandle, eps: number, out: NativeHandle): void;
  linear(
    x: NativeHandle,
    weights: NativeHandle,
    out: NativeHandle,
    precision: string,
    quantise: boolean,
    bias: NativeHandle | undefined,
  ): void;
  rope(
    x: NativeHandle,
    headDim: number,
    rotaryDim: number,
    cos: NativeHandle,
    sin: NativeHandle,
    positions: Int32Array,
  ): void;
  attention(
    q: NativeHandle,
    k: NativeHandle,
    v: NativeHandle,
    out: NativeHandle,
    sequenceLengths: Int32Array,
    heads: number,
    kvHeads: number,
    headDim: number,
    scale: number,
    slidingWindow: number | undefined,
  ): void;
  siluMul(gate: NativeHandle, up: NativeHandle, out: NativeHandle): void;
  add(x: NativeHandle, y: NativeHandle): void;
  nll(logits: NativeHandle, targets: Int32Array): Promise<Float64Array>;
  compare(
    reference: NativeHandle,
    logits: NativeHandle,
    targets: Int32Array,
  ): Promise<{ kl: Float64Array; sameTop1: Uint8Array; deltaP: Float64Array }>;
  anyNonFinite(x: NativeHandle): Promise<boolean>;
  firstDifference(a: NativeHandle, b: NativeHandle): Promise<number>;
  quantiseFp8(
    words: Uint8Array,
    rows: number,
    cols: number,
  ): Promise<{ bytes: Uint8Array; scales: Float32Array }>;
  toHalf(words: Uint8Array, dtype: string): Promise<Uint8Array>;
};
