/** The exports of native/addon.cc. Every method throws at once on a wrong argument; src/codec says what each does. */
export type NativeBinding = {
  /** Names of the implementations that this CPU runs, best first; "scalar" is the last. */
  implementations(): string[];
  readonly Pool: new (threads: number, implementation: string) => NativePool;
  /** Names of the implementations of the CPU device that this CPU runs, best first; "scalar" is the last. */
  cpuImplementations(): string[];
  readonly CpuDevice: new (threads: number, implementation: string) => NativeCpuDevice;
  /**
   * What of CUDA is on this machine; never throws. `gpus` is empty where `error` says why no GPU can be used, or where
   * there is none.
   */
  cudaProbe(): NativeCudaProbe;
  /** The rows of kernels/interface/configs.h. */
  cudaGemmConfigs(): NativeGemmConfig[];
  /** A device for benchmarks; the first promise opens it. `kernelsFolder` has the cubins. */
  readonly CudaSession: new (
    ordinal: number,
    kernelsFolder: string,
  ) => NativeCudaSession;
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

/** `hint` may be empty. */
export type NativeCudaFailure = { readonly code: string; readonly message: string; readonly hint: string };

export type NativeGpu = {
  readonly ordinal: number;
  readonly name: string;
  /** "9.0" */
  readonly computeCapability: string;
  readonly smCount: number;
  readonly memoryBytes: number;
  /** What the memory's clock and width give, in bytes per second; 0 where the driver does not tell. */
  readonly memoryBandwidth: number;
  readonly l2Bytes: number;
};

export type NativeCudaProbe = {
  /** What the driver supports, such as "13.0". */
  readonly cuda?: string;
  /** Such as "580.159.04", and NVML's own version; from NVML. */
  readonly driver?: string;
  readonly nvml?: string;
  readonly gpus: readonly NativeGpu[];
  readonly error?: NativeCudaFailure;
  readonly cublaslt?: { readonly version: string; readonly path: string };
  readonly cublasltError?: NativeCudaFailure;
  readonly nvmlError?: NativeCudaFailure;
};

export type NativeGemmConfig = {
  readonly name: string;
  readonly weights: "plain16" | "nested16" | "w8a16" | "w8a8" | "w8a8f32" | "a8w8";
  /** Of one block, along N, M and K; of a8w8 the rows are tokens and the tokens rows of weights. */
  readonly blockRows: number;
  readonly blockTokens: number;
  readonly blockK: number;
  /** Stages of tokens that a step along K takes: 2 where the warpgroups together take half of blockK at a time. */
  readonly tokenStagesPerStep: number;
  readonly stages: number;
  /** Blocks of a cluster along N, which share tokens, and along M, which share weights. */
  readonly clusterRows: number;
  readonly clusterTokens: number;
  readonly sharedBytes: number;
};

/**
 * One GPU; a rejected promise has an Error with `code` (a CUresult's name, ...) and perhaps `hint`. Methods on a layer
 * take its number, a precision of src/device/device.ts and a configuration: "cublaslt", "cublaslt_rowwise", or
 * "<name of a row>/<whole | split | split-last | stream>".
 */
export type NativeCudaSession = {
  open(): Promise<NativeGpu & { readonly driver: string; readonly cublaslt?: string }>;
  state(): Promise<{
    readonly smClockMhz?: number;
    readonly memoryClockMhz?: number;
    readonly powerW?: number;
    readonly temperatureC?: number;
    readonly throttleReasons: readonly string[];
  }>;
  /**
   * Random weights [n, k], N(0, sigma) cut at 1.75, for these precisions; its number. Of sigma 0, the 32,512 eligible
   * words in turn.
   * @param rowShifts rows have shifts 0 to 3 in turn, which the baselines know nothing of.
   */
  layer(
    n: number,
    k: number,
    maxM: number,
    seed: number,
    precisions: readonly string[],
    sigma: number,
    rowShifts: boolean,
  ): Promise<number>;
  freeLayer(layer: number): Promise<void>;
  /**
   * `relErr` = ||out - reference|| / ||reference||; `largestErr` of one output in units of the reference's root mean
   * square; `nan` outputs are NaN or were not written; `overrun` words behind the output were written;
   * `changed` words came out otherwise when launches followed each other closely.
   */
  check(
    layer: number,
    precision: string,
    config: string,
    m: number,
  ): Promise<{
    readonly ok: boolean;
    readonly relErr: number;
    readonly largestErr: number;
    readonly nan: number;
    readonly overrun: number;
    readonly changed: number;
    readonly bitwise?: boolean;
  }>;
  time(
    layer: number,
    precision: string,
    config: string,
    m: number,
    launches: number,
    cold: boolean,
  ): Promise<number>;
  timeQuantiser(
    layer: number,
    precision: string,
    config: string,
    m: number,
    launches: number,
  ): Promise<number | undefined>;
  /** How many outputs of X = I differ from the weights' bits. */
  identity(
    layer: number,
    precision: string,
    config: string,
  ): Promise<{ readonly mismatches: number; readonly first?: number }>;
  /** What runs: algorithm, grid, shared memory. */
  description(layer: number, precision: string, config: string, m: number): Promise<string>;
  /**
   * binary16 words [n, k] to planes in the device's K order, K filled up to a multiple of 128: the upper row-major,
   * the lower in tiles of 64 rows (kernels/interface/planes.h).
   */
  splitPlanes(
    words: Uint8Array,
    n: number,
    k: number,
  ): Promise<{ readonly upper: Uint8Array; readonly lower: Uint8Array }>;
  joinPlanes(upper: Uint8Array, lower: Uint8Array, n: number, k: number): Promise<Uint8Array>;
  /** E4M3 rows of binary16 words; `permuted` gives the device's K order, filled up like the planes. */
  quantiseRows(
    words: Uint8Array,
    rows: number,
    cols: number,
    permuted: boolean,
  ): Promise<{ readonly bytes: Uint8Array; readonly scales: Float32Array }>;
  /** The device is let go of when the pending promises have settled; later calls throw. */
  close(): void;
};
