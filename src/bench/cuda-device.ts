import type { Precision } from "../device/device.ts";
import { MachineError } from "../errors.ts";
import { loadAddon } from "../native/addon.ts";
import type { NativeCudaSession, NativeGemmConfig } from "../native/binding.ts";
import { kernelsFolder } from "../native/cuda-probe.ts";
import { kernelsFingerprint } from "../native/kernels-fingerprint.ts";

import type { BenchDevice, BenchDeviceInfo, BenchLayer, Check, Contender } from "./bench-device.ts";
import { cudaContenders, type Fp8Sums, type TunedConfig } from "./cuda-contenders.ts";
import type { Gpu, Point } from "./kernel-cost.ts";

/** The configurations measured to be fastest on this device at a point, or at the numbers of tokens around it. */
export type Tuned = (point: Point & { readonly kernel: Precision }) => readonly TunedConfig[];

export type CudaBenchOptions = {
  /** Of the GPU, as the driver counts; default 0. */
  readonly ordinal?: number | undefined;
  /** What dispatch prefers to its cost model; a configuration that no longer exists is passed over. */
  readonly tuned?: Tuned | undefined;
  readonly fp8Sums?: Fp8Sums | undefined;
  /** Of the cubins; default: the package's own. */
  readonly kernels?: string | undefined;
};

/** What the cost model takes where the driver does not tell, as of some virtual GPUs. */
const h100Bandwidth = 3.35e12;

/** Of the random weights: what layers of large models have. */
const sigma = 0.02;

/**
 * A GPU as a device to be timed.
 * @throws MachineError when the addon, a driver, a Hopper GPU or the kernels are missing.
 */
export async function createCudaBenchDevice(options: CudaBenchOptions = {}): Promise<BenchDevice> {
  const addon = loadAddon();
  const folder = options.kernels ?? kernelsFolder;
  const native = new addon.CudaSession(options.ordinal ?? 0, folder);
  try {
    const gpu = await asMachineError(native.open(), "no usable GPU: ");
    const info: BenchDeviceInfo = {
      kind: "cuda",
      name: gpu.name,
      computeCapability: gpu.computeCapability,
      smCount: gpu.smCount,
      ...(gpu.memoryBandwidth > 0 && { memoryBandwidth: gpu.memoryBandwidth }),
      memoryBytes: gpu.memoryBytes,
      driver: gpu.driver,
      libraries: {
        ...(gpu.cublaslt !== undefined && { cublaslt: gpu.cublaslt }),
        kernels: await kernelsFingerprint(folder),
      },
    };
    const model = { smCount: gpu.smCount, memoryBandwidth: info.memoryBandwidth ?? h100Bandwidth };
    return new CudaBenchDevice(native, info, model, addon.cudaGemmConfigs(), options);
  } catch (error) {
    native.close();
    throw error;
  }
}

class CudaBenchDevice implements BenchDevice {
  readonly info: BenchDeviceInfo;
  readonly #native: NativeCudaSession;
  readonly #gpu: Gpu;
  readonly #configs: readonly NativeGemmConfig[];
  readonly #options: CudaBenchOptions;

  constructor(
    native: NativeCudaSession,
    info: BenchDeviceInfo,
    gpu: Gpu,
    configs: readonly NativeGemmConfig[],
    options: CudaBenchOptions,
  ) {
    this.#native = native;
    this.info = info;
    this.#gpu = gpu;
    this.#configs = configs;
    this.#options = options;
  }

  state() {
    return asMachineError(this.#native.state());
  }

  async layer(n: number, k: number, kernels: readonly Precision[], maxM: number, seed: number) {
    const id = await asMachineError(this.#native.layer(n, k, maxM, seed, kernels, sigma, false));
    const contenders = (kernel: Precision, m: number): Contender[] => {
      const tuned = this.#options.tuned?.({ kernel, n, k, m }) ?? [];
      const { fp8Sums: sums = "fast" } = this.#options;
      return cudaContenders(this.#configs, kernel, { n, k, m }, this.#gpu, { tuned, sums });
    };
    return new CudaBenchLayer(this.#native, id, contenders);
  }

  close(): void {
    this.#native.close();
  }
}

class CudaBenchLayer implements BenchLayer {
  readonly #native: NativeCudaSession;
  readonly #id: number;
  readonly #ranked: (kernel: Precision, m: number) => Contender[];

  constructor(native: NativeCudaSession, id: number, ranked: (kernel: Precision, m: number) => Contender[]) {
    this.#native = native;
    this.#id = id;
    this.#ranked = ranked;
  }

  contenders(kernel: Precision, m: number, all: boolean): readonly Contender[] {
    const ranked = this.#ranked(kernel, m);
    if (all) return ranked;
    // Baselines stand for what the library gives, all of it; plain words of our own are for comparison only.
    const isBaseline = kernel === "fp16" || kernel === "fp8";
    return isBaseline ? ranked.filter(({ config }) => config.startsWith("cublaslt")) : ranked.slice(0, 1);
  }

  async check({ kernel, config }: Contender, m: number): Promise<Check> {
    const check = await asMachineError(this.#native.check(this.#id, kernel, config, m));
    const details = await asMachineError(this.#native.description(this.#id, kernel, config, m));
    return { ...check, details };
  }

  time({ kernel, config }: Contender, m: number, launches: number, cold: boolean): Promise<number> {
    return asMachineError(this.#native.time(this.#id, kernel, config, m, launches, cold));
  }

  timeQuantiser({ kernel, config }: Contender, m: number, launches: number): Promise<number | undefined> {
    return asMachineError(this.#native.timeQuantiser(this.#id, kernel, config, m, launches));
  }

  close(): void {
    // In turn with the other calls, so a later layer finds the memory free. After the device it is gone with that.
    this.#native.freeLayer(this.#id).catch(() => undefined);
  }
}

/** A failure of the driver, or of what it needs, is one of this machine. */
async function asMachineError<T>(promise: Promise<T>, prefix = ""): Promise<T> {
  try {
    return await promise;
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause)) throw cause;
    const hint = "hint" in cause && typeof cause.hint === "string" ? cause.hint : undefined;
    throw new MachineError(`${prefix}${cause.message}`, { hint, cause });
  }
}
