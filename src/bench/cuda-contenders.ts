import type { Precision } from "../device/device.ts";
import type { NativeGemmConfig } from "../native/binding.ts";

import type { Contender } from "./bench-device.ts";
import { type Gpu, kernelCost, libraryCost, type Point, type Schedule } from "./kernel-cost.ts";

const schedules: readonly Schedule[] = ["whole", "split", "split-last", "stream"];

/**
 * How products of E4M3 operands are added up on a GPU: by its tensor cores, which keep some 14 bits, or in FP32, to
 * which what those have added up is added after every 128 along K.
 */
export type Fp8Sums = "fast" | "fp32";

const fp16Weights: Readonly<Partial<Record<Precision, readonly NativeGemmConfig["weights"][]>>> = {
  fp16: ["plain16"],
  "nested-fp16": ["nested16"],
};

const nestedFp8Weights: Readonly<Record<Fp8Sums, readonly NativeGemmConfig["weights"][]>> = {
  fast: ["w8a16", "w8a8", "a8w8"],
  fp32: ["w8a16", "w8a8f32"],
};

const librarySuffix: Readonly<Record<Fp8Sums, string>> = { fast: "", fp32: "_f32" };

/** The baselines. */
function libraryConfigs(kernel: Precision, sums: Fp8Sums): readonly string[] {
  if (kernel === "fp16") return ["cublaslt"];
  return kernel === "fp8" ? ["cublaslt", "cublaslt_rowwise"].map((name) => name + librarySuffix[sums]) : [];
}

/** The upper plane is an E4M3 matrix, so the library can multiply it, with a scale per row and per token. */
function upperPlaneConfigs(kernel: Precision, sums: Fp8Sums): readonly string[] {
  return kernel === "nested-fp8" ? [`cublaslt_rowwise${librarySuffix[sums]}`] : [];
}

/** What was measured to be fastest at `m` tokens. */
export type TunedConfig = { readonly m: number; readonly config: string };

/**
 * How much longer than the model says a configuration is taken to run that was not the fastest nearby. (On an H200, at
 * 378 points between those of a table of powers of two, what is so picked took 1.020 times as long as the best for nested
 * FP16 and 1.014 for nested FP8 in the geometric mean; by the model alone 1.021 and 1.015, and of the nearest entry 1.101
 * and 1.088 where it was timed at all.)
 */
const untunedShare = 1.06;

/**
 * Every way to run a kernel at a point, the most promising first. A baseline's first is the library. Then comes what
 * was measured to be the fastest here; all others are ranked by {@link kernelCost}, those that were the fastest at
 * other numbers of tokens somewhat before the rest, and tiles much wider or narrower than m are left out.
 *
 * @param tuned at this shape; what no longer exists is passed over
 */
export function cudaContenders(
  configs: readonly NativeGemmConfig[],
  kernel: Precision,
  point: Point,
  gpu: Gpu,
  { tuned = [], sums = "fast" }: { tuned?: readonly TunedConfig[]; sums?: Fp8Sums } = {},
): Contender[] {
  const kinds = (kernel === "nested-fp8" ? nestedFp8Weights[sums] : fp16Weights[kernel]) ?? [];
  const ofKernel = configs.filter(({ weights }) => kinds.includes(weights));
  const ranked = ofKernel
    .flatMap((config) =>
      schedules.map((schedule) => ({
        config: `${config.name}/${schedule}`,
        us: kernelCost(config, schedule, point, gpu),
        isApplicable: isApplicable(config, ofKernel, point.m),
      })),
    )
    .concat(
      upperPlaneConfigs(kernel, sums).map((config) => ({
        config,
        us: libraryCost(point, gpu),
        isApplicable: true,
      })),
    )
    .map(({ config, us, isApplicable }) => {
      const known = tuned.find((one) => one.config === config);
      if (known?.m === point.m) return { config, us: 0 };
      if (known !== undefined) return { config, us };
      return { config, us: isApplicable ? us * untunedShare : Number.POSITIVE_INFINITY };
    })
    .filter(({ us }) => us < Number.POSITIVE_INFINITY)
    .sort((a, b) => a.us - b.us);
  return [...libraryConfigs(kernel, sums), ...ranked.map(({ config }) => config)].map((config) => ({
    kernel,
    config,
  }));
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
