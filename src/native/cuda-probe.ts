import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { loadAddon } from "./addon.ts";
import type { NativeCudaProbe } from "./binding.ts";

/** Where `npm run build:kernels` puts the cubins and the package ships them; from src/native and dist/native alike. */
export const kernelsFolder = fileURLToPath(new URL("../../kernels/build/", import.meta.url));

export type CudaProbe = NativeCudaProbe & {
  readonly kernels: {
    readonly folder: string;
    /** Cubins that are there, and those that are not. */
    readonly found: readonly string[];
    readonly missing: readonly string[];
  };
};

/**
 * What of CUDA is on this machine, for people: driver, GPUs, libraries, kernels, and why something is not there.
 * @throws MachineError when the addon cannot be loaded.
 */
export function probeCuda(folder: string = kernelsFolder): CudaProbe {
  const addon = loadAddon();
  const names = ["operations", ...addon.cudaGemmConfigs().map(({ name }) => name)];
  const isFound = (name: string) => existsSync(join(folder, `${name}.cubin`));
  return {
    ...addon.cudaProbe(),
    kernels: {
      folder,
      found: names.filter(isFound),
      missing: names.filter((name) => !isFound(name)),
    },
  };
}
