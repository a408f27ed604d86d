import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { loadAddon } from "./addon.ts";
import type { NativeGpu } from "./binding.ts";

/** Where `npm run build:kernels` puts the cubins and the package ships them; from src/native and dist/native alike. */
export const kernelsFolder = fileURLToPath(new URL("../../kernels/build", import.meta.url));

/** What of CUDA this machine has, as far as it can be told without using it. */
export type CudaProbe = {
  /** "580.159.04 (CUDA 13.0)"; absent when the driver cannot be opened or has no device. */
  readonly driver?: string;
  readonly gpus: readonly Pick<NativeGpu, "name" | "computeCapability" | "memoryBytes">[];
  /** Versions; absent when the library cannot be opened. */
  readonly cublaslt?: string;
  readonly nvml?: string;
  /** Why there is no GPU. */
  readonly error?: string;
  /** Cubins that should lie in `folder` and do not. */
  readonly kernels?: { readonly folder: string; readonly missing: readonly string[] };
};

/**
 * Asks the addon what of CUDA is on this machine.
 * @throws MachineError when the addon cannot be loaded.
 */
export function probeCuda(folder: string = kernelsFolder): CudaProbe {
  const addon = loadAddon();
  const { cuda, driver, nvml, gpus, cublaslt, error } = addon.cudaProbe();
  const names = ["ops", ...addon.cudaGemmConfigs().map(({ name }) => name)];
  return {
    ...(cuda !== undefined && { driver: driver === undefined ? `CUDA ${cuda}` : `${driver} (CUDA ${cuda})` }),
    gpus,
    ...(cublaslt !== undefined && { cublaslt: cublaslt.version }),
    ...(nvml !== undefined && { nvml }),
    ...(error !== undefined && { error: error.message }),
    kernels: { folder, missing: names.filter((name) => !existsSync(join(folder, `${name}.cubin`))) },
  };
}
