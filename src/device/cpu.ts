import { loadAddon } from "../native/addon.ts";
import type { NativeCpuDevice, NativeHandle } from "../native/binding.ts";

import type {
  Activations,
  AttentionOptions,
  Constants,
  Device,
  LinearOptions,
  WeightBytes,
  Weights,
} from "./device.ts";

export type CpuDeviceOptions = {
  /** Threads that work on each operation, 1 to 1024. */
  readonly threads: number;
  /** One of {@link cpuImplementations}; default: the best. All give the same bits. */
  readonly implementation?: string | undefined;
};

/**
 * What `implementation` may be on this machine, best first: "avx512", "avx2", "scalar".
 * @throws MachineError when the addon cannot be loaded.
 */
export function cpuImplementations(): string[] {
  return loadAddon().cpuImplementations();
}

/**
 * The CPU as a device: FP32 activations, weights read where they lie, products summed in FP32 by fused multiply-add
 * in an order that depends on the shape alone. Beside activations and constants it takes at most 16 MiB, and per
 * thread 0.3 MiB and 128 bytes for each position that an attention sees.
 * @throws MachineError when the addon cannot be loaded.
 * @throws RangeError for an implementation that this CPU does not run, or for a wrong number of threads.
 */
export function createCpuDevice({ threads, implementation }: CpuDeviceOptions): Device {
  const addon = loadAddon();
  const name = implementation ?? addon.cpuImplementations()[0] ?? "scalar";
  return new CpuDevice(new addon.CpuDevice(threads, name), `cpu ${name}, ${threads} threads`);
}

/** Activations, Constants and Weights alike: the addon checks which. */
class CpuHandle {
  readonly native: NativeHandle;

  constructor(native: NativeHandle) {
    this.native = native;
  }
}

class CpuActivations extends CpuHandle {
  readonly rows: number;
  readonly cols: number;

  constructor(native: NativeHandle, rows: number, cols: number) {
    super(native);
    this.rows = rows;
    this.cols = cols;
  }
}

class CpuConstants extends CpuHandle {
  readonly length: number;

  constructor(native: NativeHandle, length: number) {
    super(native);
    this.length = length;
  }
}

class CpuWeights extends CpuActivations {
  readonly kind: WeightBytes["kind"];

  constructor(native: NativeHandle, rows: number, cols: number, kind: WeightBytes["kind"]) {
    super(native, rows, cols);
    this.kind = kind;
  }
}

type Handle = Activations | Constants | Weights;

/** The addon says what is wrong with anything that is no handle. */
function nativeOf(handle: Handle): NativeHandle {
  return (handle as unknown as CpuHandle | undefined)?.native as NativeHandle;
}

class CpuDevice implements Device {
  readonly name: string;
  readonly #native: NativeCpuDevice;

  constructor(native: NativeCpuDevice, name: string) {
    this.#native = native;
    this.name = name;
  }

  allocate(rows: number, cols: number): Activations {
    return activations(this.#native.allocate(rows, cols), rows, cols);
  }

  columns(x: Activations, first: number, count: number): Activations {
    return activations(this.#native.view(nativeOf(x), 0, x.rows, first, count), x.rows, count);
  }

  rows(x: Activations, first: number, count: number): Activations {
    return activations(this.#native.view(nativeOf(x), first, count, 0, x.cols), count, x.cols);
  }

  constants(values: Float32Array): Constants {
    return new CpuConstants(this.#native.constants(values), values.length) as unknown as Constants;
  }

  weights(bytes: WeightBytes, rows: number, cols: number): Weights {
    const native = this.#native.weights(bytes.kind, rows, cols, ...arraysOf(bytes));
    return new CpuWeights(native, rows, cols, bytes.kind) as unknown as Weights;
  }

  free(...handles: Handle[]): void {
    for (const handle of handles) this.#native.free(nativeOf(handle));
  }

  upload(values: Float32Array, x: Activations): void {
    this.#native.upload(values, nativeOf(x));
  }

  async download(x: Activations): Promise<Float32Array> {
    return this.#native.download(nativeOf(x));
  }

  async finish(): Promise<void> {
    return this.#native.finish();
  }

  close(): void {
    this.#native.close();
  }

  embedding(table: Weights, ids: Int32Array, out: Activations): void {
    this.#native.embedding(nativeOf(table), ids, nativeOf(out));
  }

  rmsNorm(x: Activations, weight: Constants, eps: number, out: Activations): void {
    this.#native.rmsNorm(nativeOf(x), nativeOf(weight), eps, nativeOf(out));
  }

  linear(x: Activations, weights: Weights, out: Activations, options: LinearOptions): void {
    const { precision, bias, activations = "e4m3" } = options;
    const quantise = activations === "e4m3";
    const nativeBias = bias === undefined ? undefined : nativeOf(bias);
    this.#native.linear(nativeOf(x), nativeOf(weights), nativeOf(out), precision, quantise, nativeBias);
  }

  rope(
    x: Activations,
    headDim: number,
    rotaryDim: number,
    cos: Constants,
    sin: Constants,
    positions: Int32Array,
  ): void {
    this.#native.rope(nativeOf(x), headDim, rotaryDim, nativeOf(cos), nativeOf(sin), positions);
  }

  attention(
    q: Activations,
    k: Activations,
    v: Activations,
    out: Activations,
    options: AttentionOptions,
  ): void {
    const { sequenceLengths, heads, kvHeads, headDim, scale, slidingWindow } = options;
    this.#native.attention(
      nativeOf(q),
      nativeOf(k),
      nativeOf(v),
      nativeOf(out),
      sequenceLengths,
      heads,
      kvHeads,
      headDim,
      scale,
      slidingWindow,
    );
  }

  siluMul(gate: Activations, up: Activations, out: Activations): void {
    this.#native.siluMul(nativeOf(gate), nativeOf(up), nativeOf(out));
  }

  add(x: Activations, y: Activations): void {
    this.#native.add(nativeOf(x), nativeOf(y));
  }

  async nll(logits: Activations, targets: Int32Array): Promise<Float64Array> {
    return this.#native.nll(nativeOf(logits), targets);
  }

  async compare(reference: Activations, logits: Activations, targets: Int32Array) {
    return this.#native.compare(nativeOf(reference), nativeOf(logits), targets);
  }

  async anyNonFinite(x: Activations): Promise<boolean> {
    return this.#native.anyNonFinite(nativeOf(x));
  }

  async firstDifference(a: Activations, b: Activations): Promise<number> {
    return this.#native.firstDifference(nativeOf(a), nativeOf(b));
  }

  async quantiseFp8(words: Uint8Array, rows: number, cols: number) {
    return this.#native.quantiseFp8(words, rows, cols);
  }

  async toHalf(words: Uint8Array, dtype: "bf16" | "fp32"): Promise<Uint8Array> {
    return this.#native.toHalf(words, dtype);
  }
}

function activations(native: NativeHandle, rows: number, cols: number): Activations {
  return new CpuActivations(native, rows, cols) as unknown as Activations;
}

/** In the order in which the addon takes them. */
function arraysOf(
  weights: WeightBytes,
): [Uint8Array, (Uint8Array | Float32Array | undefined)?, (Uint8Array | undefined)?] {
  switch (weights.kind) {
    case "nested":
      return [weights.upper, weights.lower, weights.shifts];
    case "fp8":
      return [weights.bytes, weights.scales];
    default:
      return [weights.words];
  }
}
