import { loadAddon } from "./addon.ts";

/** What of CUDA this machine has, as far as it can be told without using it. */
export type CudaProbe = {
  /** "580.159.04 (CUDA 13.0)"; absent when libcuda.so.1 cannot be opened. */
  readonly driver?: string;
  readonly gpus: readonly {
    readonly name: string;
    /** "9.0" */
    readonly computeCapability: string;
    readonly memoryBytes: number;
  }[];
  /** Versions; absent when the library cannot be opened. */
  readonly cublaslt?: string;
  readonly nvml?: string;
  /** Why something is absent. */
  readonly error?: string;
};

/**
 * Asks the addon; undefined from a build without CUDA support.
 * @throws MachineError when the addon cannot be loaded.
 */
export function probeCuda(): CudaProbe | undefined {
  return loadAddon().probeCuda?.();
}
