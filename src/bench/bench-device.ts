import type { Precision } from "../device/device.ts";

export type BenchDeviceInfo = {
  readonly kind: "cpu" | "cuda";
  /** "NVIDIA H100 80GB HBM3" | "cpu avx512, 2 threads of Intel(R) Xeon(R) Platinum 8480C" */
  readonly name: string;
  /** "9.0" */
  readonly computeCapability?: string;
  readonly smCount?: number;
  readonly memoryBytes?: number;
  /** What the memory's clock and width give, in bytes per second; absent where the driver does not tell. */
  readonly memoryBandwidth?: number;
  /** "580.159.04 (CUDA 13.0)" */
  readonly driver?: string;
  /** { cublaslt: "13.1.0" } */
  readonly libraries: Readonly<Record<string, string>>;
};

/** One way to run a kernel. `config` names what runs: "cublaslt", "cublaslt_rowwise", "w8a16_128x16k2_s8w8_c1/split", "cpu avx512". */
export type Contender = { readonly kernel: Precision; readonly config: string };

/** Read from the device at one moment; absent fields are unknown. */
export type DeviceState = {
  readonly smClockMhz?: number;
  readonly memoryClockMhz?: number;
  readonly powerW?: number;
  readonly temperatureC?: number;
  /** "sw_power_cap", "hw_slowdown", ... without idle or none. */
  readonly throttleReasons: readonly string[];
};

/**
 * relErr = ||out - reference|| / ||reference||; `details` of what was launched, for people: blocks and cuts of a kernel
 * of our own, the algorithm that a library chose.
 */
export type Check = {
  readonly ok: boolean;
  readonly relErr: number;
  readonly bitwise?: boolean;
  readonly details?: string;
};

/** A machine that runs the linear layers to be timed. */
export type BenchDevice = {
  readonly info: BenchDeviceInfo;
  state(): Promise<DeviceState>;
  /** Random weights [n, k] for every kernel named, in enough copies that rotating over them defeats the caches. */
  layer(n: number, k: number, kernels: readonly Precision[], maxM: number, seed: number): Promise<BenchLayer>;
  close(): void;
};

/** The weights of one linear layer on a device: out [m, n] = x [m, k] W^T. */
export type BenchLayer = {
  /**
   * What dispatch would run for this kernel at m first; with `all`, every applicable contender (for --tune). "fp8"
   * gives cublaslt and cublaslt_rowwise on a GPU.
   */
  contenders(kernel: Precision, m: number, all: boolean): readonly Contender[];
  /** Poisons the output, runs once on fresh random inputs, compares with an independent reference in higher precision. */
  check(contender: Contender, m: number): Promise<Check>;
  /**
   * Microseconds per launch: device events around `launches` launches back to back; `cold` rotates weights beyond the
   * last-level cache.
   */
  time(contender: Contender, m: number, launches: number, cold: boolean): Promise<number>;
  /** Microseconds of quantising activations [m, k] alone (E4M3 per token); undefined where the contender needs none. */
  timeQuantiser(contender: Contender, m: number, launches: number): Promise<number | undefined>;
  close(): void;
};
