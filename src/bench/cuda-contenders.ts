import type { Precision } from "../device/device.ts";
import type { NativeGemmConfig } from "../native/binding.ts";

import type { Contender } from "./bench-device.ts";
import { kernelCost, libraryCost, type Point, type Schedule } from "./kernel-cost.ts";

const schedules: readonly Schedule[] = ["whole", "split", "split-last", "stream"];

const weightsOf: Readonly<Record<Precision, readonly NativeGemmConfig["weights"][]>> = {
  fp16: ["plain16"],
  "nested-fp16": ["nested16"],
  "nested-fp8": ["w8a16", "w8a8", "a8w8"],
  fp8: [],
};

/** The baselines. */
const libraryConfigs: Readonly<Record<Precision, readonly string[]>> = {
  fp16: ["cublaslt"],
  "nested-fp16": [],
  "nested-fp8": [],
  fp8: ["cublaslt", "cublaslt_rowwise"],
};

/** The upper plane is an E4M3 matrix, so the library can multiply it, with a scale per row and per token. */
const upperPlaneConfig = "cublaslt_rowwise";

/**
 * Every way to run a kernel at a point, the most promising first. A baseline's first is the library; our kernels are
 * ranked by {@link kernelCost}, and tiles much wider or narrower than m are left out.
 */
export function cudaContenders(
  configs: readonly NativeGemmConfig[],
  kernel: Precision,
  point: Point,
  smCount: number,
): Contender[] {
  const own = configs
    .filter(({ weights }) => weightsOf[kernel].includes(weights))
    .filter((config) => isApplicable(config, configs, point.m))
    .flatMap((config) =>
      schedules
        .map((schedule) => ({
          config: `${config.name}/${schedule}`,
          us: kernelCost(config, schedule, point, smCount),
        }))
        .filter(({ us }) => us < Number.POSITIVE_INFINITY),
    )
    .concat(kernel === "nested-fp8" ? [{ config: upperPlaneConfig, us: libraryCost(point) }] : [])
    .sort((a, b) => a.us - b.us);
  return [...libraryConfigs[kernel], ...own.map(({ config }) => config)].map((config) => ({
    kernel,
    config,
  }));
}

/** Whether there is a configuration of this name, however it ranks; a table may be of another version. */
export function computes(configs: readonly NativeGemmConfig[], kernel: Precision, config: string): boolean {
  if (libraryConfigs[kernel].includes(config)) return true;
  if (kernel === "nested-fp8" && config === upperPlaneConfig) return true;
  return configs.some(
    ({ name, weights }) =>
      weightsOf[kernel].includes(weights) && schedules.some((schedule) => config === `${name}/${schedule}`),
  );
}

/**
 * A wide tile wastes its tokens at small m, and a narrow one reads or rebuilds the weights once per few tokens at
 * large m; the widest of a kind always stays.
 */
function isApplicable(config: NativeGemmConfig, configs: readonly NativeGemmConfig[], m: number): boolean {
  const { blockRows, blockTokens, weights } = config;
  // Its rows are tokens.
  if (weights === "a8w8") return m > blockRows / 2;
  const widest = Math.max(
    ...configs.filter((other) => other.weights === weights).map((other) => other.blockTokens),
  );
  const fewest = m <= 64 ? m / 4 : m <= 128 ? 64 : 128;
  return blockTokens <= Math.max(16, 2 * m) && blockTokens >= Math.min(fewest, widest);
}
