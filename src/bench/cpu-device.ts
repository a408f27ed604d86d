import { readFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { createCpuDevice } from "../device/cpu.ts";
import type { Activations, Device, LinearOptions, Precision, Weights } from "../device/device.ts";
import { MachineError } from "../errors.ts";
import type { BenchDevice, BenchLayer, Check, Contender } from "./bench-device.ts";
import type { ReferenceWeights } from "./linear-reference.ts";
import { referenceDot } from "./linear-reference.ts";
import { gaussian, seededRandom } from "./random.ts";
import { RandomWeights } from "./random-weights.ts";

export type CpuBenchOptions = {
  readonly threads: number;
  /** Weights of one byte each that cold launches rotate over; default: the last-level cache, as memory allows. */
  readonly coldBytes?: number | undefined;
};

/**
 * The kernels of the CPU device (native/cpu): FP32 activations, FP8 activations quantised within the kernel.
 *
 * @param device whose kernels are timed; closed with what this returns
 */
export async function createCpuBenchDevice(
  { threads, coldBytes }: CpuBenchOptions,
  device = createCpuDevice({ threads }),
): Promise<BenchDevice> {
  // The pool takes four bytes for each: an FP16 word and both planes.
  const cold = coldBytes ?? Math.min(await lastLevelCacheBytes(), Math.floor(totalmem() / 16));
  return new CpuBenchDevice(device, cold);
}

const weightSeed = 1;

class CpuBenchDevice implements BenchDevice {
  readonly info: BenchDevice["info"];
  readonly #device: Device;
  readonly #weights: RandomWeights;
  readonly #coldBytes: number;

  constructor(device: Device, coldBytes: number) {
    // With the model, as results of different processors are not to be compared.
    const name = `${device.name} of ${cpus()[0]?.model.trim() || "an unknown processor"}`;
    this.info = { kind: "cpu", name, memoryBytes: totalmem(), libraries: {} };
    this.#device = device;
    this.#weights = new RandomWeights(device, weightSeed);
    this.#coldBytes = coldBytes;
  }

  async state() {
    return { throttleReasons: [] };
  }

  /** @throws MachineError for a layer that this machine's memory cannot hold */
  async layer(n: number, k: number, _kernels: readonly Precision[], maxM: number, seed: number) {
    refuseTooLarge(n, k, maxM);
    await this.#weights.grow(n * k);
    const config = this.info.name.replace(/,.*/, "");
    const coldBytes = this.#coldBytes;
    return new CpuBenchLayer(this.#device, this.#weights, { n, k, maxM, seed, config, coldBytes });
  }

  close(): void {
    this.#device.close();
  }
}

const gibibyte = 1024 ** 3;

/** Linux would grant the memory, and end the process when it is used. */
function refuseTooLarge(n: number, k: number, maxM: number): void {
  // Weights in every form, and activations and outputs in FP32 as the check of a kernel holds them all at once.
  const needed = 4 * (n * k + maxM * (3 * k + 5 * n));
  const limit = process.constrainedMemory();
  const memory = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  if (needed <= memory) return;
  const gibibytes = (bytes: number): string => `${(bytes / gibibyte).toFixed(1)} GiB`;
  throw new MachineError(
    `a layer of N ${n}, K ${k} at up to M ${maxM} needs ${gibibytes(needed)} of memory, and this machine has ${gibibytes(memory)}`,
    { hint: "leave the layer out, or give smaller numbers of tokens by -m" },
  );
}

type LayerShape = {
  readonly n: number;
  readonly k: number;
  readonly maxM: number;
  readonly seed: number;
  readonly config: string;
  readonly coldBytes: number;
};

// Outputs that are compared with the reference: all tokens and rows of small layers, else some spread over each.
const checkedTokens = 8;
const checkedRows = 48;

/** Sums of up to 2^20 products in FP32 stay far within this; a wrong weight, scale or token does not. */
const tolerance = 1e-4;

class CpuBenchLayer implements BenchLayer {
  readonly #device: Device;
  readonly #weights: RandomWeights;
  readonly #shape: LayerShape;
  readonly #scales: Float32Array;
  readonly #random: () => number;
  readonly #x: Activations;
  readonly #out: Activations;
  #turn = 0;

  constructor(device: Device, weights: RandomWeights, shape: LayerShape) {
    this.#device = device;
    this.#weights = weights;
    this.#shape = shape;
    this.#random = seededRandom(shape.seed);
    this.#scales = Float32Array.from({ length: shape.n }, () => 1e-4 * (1 + this.#random()));
    this.#x = device.allocate(shape.maxM, shape.k);
    this.#out = device.allocate(shape.maxM, shape.n);
    device.upload(this.#randomInputs(shape.maxM), this.#x);
  }

  contenders(kernel: Precision): readonly Contender[] {
    return [{ kernel, config: this.#shape.config }];
  }

  async check({ kernel }: Contender, m: number): Promise<Check> {
    const { n, k } = this.#shape;
    const values = this.#randomInputs(m);
    const [x, out] = [this.#device.allocate(m, k), this.#device.allocate(m, n)];
    this.#device.upload(values, x);
    const result = await this.#run(kernel, x, out);
    const relErr = result.some(Number.isNaN) ? Number.NaN : this.#error(kernel, values, result, m);
    let check: Check = { ok: relErr <= tolerance, relErr };
    if (kernel === "nested-fp16") {
      const plain = this.#device.allocate(m, n);
      await this.#run("fp16", x, plain);
      const bitwise = (await this.#device.firstDifference(out, plain)) === -1;
      check = { ok: check.ok && bitwise, relErr, bitwise };
      this.#device.free(plain);
    }
    this.#device.free(x, out);
    return check;
  }

  async time({ kernel }: Contender, m: number, launches: number, cold: boolean): Promise<number> {
    const [x, out] = [this.#device.rows(this.#x, 0, m), this.#device.rows(this.#out, 0, m)];
    if (cold) await this.#weights.grow(this.#shape.coldBytes);
    const copies = cold ? Math.max(1, Math.floor(this.#weights.size / this.#weightCount)) : 1;
    const handles = Array.from({ length: Math.min(copies, launches) }, () =>
      this.#handle(kernel, this.#turn++ % copies),
    );
    await this.#device.finish();
    const start = performance.now();
    for (let launch = 0; launch < launches; launch++) {
      const weights = handles[launch % handles.length];
      if (weights) this.#device.linear(x, weights, out, optionsOf(kernel));
    }
    await this.#device.finish();
    const elapsed = performance.now() - start;
    this.#device.free(x, out, ...handles);
    return (1000 * elapsed) / launches;
  }

  /** Part of the FP8 kernels on this device. */
  async timeQuantiser(): Promise<undefined> {
    return undefined;
  }

  close(): void {
    this.#device.free(this.#x, this.#out);
  }

  get #weightCount(): number {
    return this.#shape.n * this.#shape.k;
  }

  #randomInputs(m: number): Float32Array {
    const random = this.#random;
    return Float32Array.from({ length: m * this.#shape.k }, () => gaussian(random));
  }

  async #run(kernel: Precision, x: Activations, out: Activations): Promise<Float32Array> {
    this.#device.upload(new Float32Array(out.rows * out.cols).fill(Number.NaN), out);
    const weights = this.#handle(kernel, 0);
    this.#device.linear(x, weights, out, optionsOf(kernel));
    const values = await this.#device.download(out);
    this.#device.free(weights);
    return values;
  }

  /** Of the copy that starts `copy` layers into the pool. */
  #handle(kernel: Precision, copy: number): Weights {
    const { n, k } = this.#shape;
    const first = copy * this.#weightCount;
    const planes = this.#weights.planes(first, this.#weightCount);
    switch (kernel) {
      case "fp16":
        return this.#device.weights(this.#weights.words(first, this.#weightCount), n, k);
      case "fp8":
        return this.#device.weights({ kind: "fp8", bytes: planes.upper, scales: this.#scales }, n, k);
      default:
        return this.#device.weights({ kind: "nested", ...planes }, n, k);
    }
  }

  /** ||out - reference|| / ||reference|| over the outputs that are looked at. */
  #error(kernel: Precision, x: Float32Array, out: Float32Array, m: number): number {
    const { n, k } = this.#shape;
    const { words } = this.#weights.words(0, this.#weightCount);
    const { upper } = this.#weights.planes(0, this.#weightCount);
    const weights: ReferenceWeights = { kernel, words, upper, scales: this.#scales };
    let [difference, norm] = [0, 0];
    for (const token of spread(m, checkedTokens)) {
      for (const row of spread(n, checkedRows)) {
        const expected = referenceDot(weights, row, x, token, k);
        difference += ((out[token * n + row] ?? Number.NaN) - expected) ** 2;
        norm += expected ** 2;
      }
    }
    return Math.sqrt(difference / norm);
  }
}

function optionsOf(precision: Precision): LinearOptions {
  return { precision, activations: "e4m3" };
}

/** At most `most` indices below `count`, evenly, with the first and the last among them. */
function spread(count: number, most: number): number[] {
  if (count <= most) return Array.from({ length: count }, (_, index) => index);
  return Array.from({ length: most }, (_, index) => Math.round((index * (count - 1)) / (most - 1)));
}

const unknownCacheBytes = 64 * 1024 ** 2;

/** Of the first CPU, as Linux tells; a guess elsewhere. */
async function lastLevelCacheBytes(): Promise<number> {
  const text = await readFile("/sys/devices/system/cpu/cpu0/cache/index3/size", "utf8").catch(() => "");
  const kibibytes = /^(\d+)K/.exec(text)?.[1];
  return kibibytes === undefined ? unknownCacheBytes : 1024 * Number(kibibytes);
}
