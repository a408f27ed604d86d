import type { Precision } from "../device/device.ts";
import type { NativeGemmConfig } from "../native/binding.ts";

import type { Contender } from "./bench-device.ts";

/** One linear layer at a number of tokens. */
export type Point = { readonly n: number; readonly k: number; readonly m: number };

/** How tiles are shared out: each whole, those of the last wave cut along K in equal parts, or stream-K. */
const schedules = ["whole", "split", "stream"] as const;

type Schedule = (typeof schedules)[number];

const weightsOf: Readonly<Record<Precision, readonly NativeGemmConfig["weights"][]>> = {
  fp16: ["plain16"],
  "nested-fp16": ["nested16"],
  "nested-fp8": ["w8a16", "w8a8"],
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

/** Of an H100 SXM, rounded; only their ratios decide. Bytes and floating-point operations per microsecond. */
const bandwidth = 3.0e6;
const denseFp16 = 700e6;

/** What a launch, and the sums of tiles that were cut, cost at least, in microseconds. */
const launchOverhead = 2;
const cutOverhead = 1.5;

/**
 * Every way to run a kernel at a point, the most promising first. A baseline's first is the library; our kernels are
 * ranked by {@link estimate}, and tiles much wider or narrower than m are left out.
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
        .filter((schedule) => schedule === "whole" || hasPartialWave(config, point, smCount))
        .map((schedule) => ({
          config: `${config.name}/${schedule}`,
          us: estimate(config, schedule, point, smCount),
        })),
    )
    .concat(kernel === "nested-fp8" ? [{ config: upperPlaneConfig, us: estimateLibrary(point) }] : [])
    .sort((a, b) => a.us - b.us);
  return [...libraryConfigs[kernel], ...own.map(({ config }) => config)].map((config) => ({
    kernel,
    config,
  }));
}

/**
 * A wide tile wastes its tokens at small m, and a narrow one reads or rebuilds the weights once per few tokens at
 * large m; the widest of a kind always stays.
 */
function isApplicable(config: NativeGemmConfig, configs: readonly NativeGemmConfig[], m: number): boolean {
  const { blockTokens, weights } = config;
  const widest = Math.max(
    ...configs.filter((other) => other.weights === weights).map((other) => other.blockTokens),
  );
  const fewest = m <= 64 ? m / 4 : m <= 128 ? 64 : 128;
  return blockTokens <= Math.max(16, 2 * m) && blockTokens >= Math.min(fewest, widest);
}

function tilesOf(config: NativeGemmConfig, { n, m }: Point): number {
  return Math.ceil(n / (config.blockRows * config.cluster)) * Math.ceil(m / config.blockTokens);
}

/** Whether there is a partial wave, which is what the other schedules cut. */
function hasPartialWave(config: NativeGemmConfig, point: Point, smCount: number): boolean {
  return tilesOf(config, point) % Math.floor(smCount / config.cluster) !== 0;
}

/**
 * Microseconds by a rough model: the larger of the time for the bytes and that for the operations, stretched by the
 * part of the device that has nothing to do. It only has to rank; `bench --tune` measures.
 */
function estimate(config: NativeGemmConfig, schedule: Schedule, point: Point, smCount: number): number {
  const { n, k, m } = point;
  const clusters = Math.floor(smCount / config.cluster);
  const tiles = tilesOf(config, point);
  const waves = schedule === "whole" ? Math.ceil(tiles / clusters) : tiles / clusters;
  const isIdle = schedule === "whole" && tiles < clusters ? tiles / clusters : 1;

  const bytesPerWeight = config.weights === "plain16" || config.weights === "nested16" ? 2 : 1;
  const tokenTiles = Math.ceil(m / config.blockTokens);
  // Tiles of other tokens find the weights in the cache, whose bandwidth is some three times that of the memory.
  const bytes = n * k * bytesPerWeight * (1 + 0.35 * (tokenTiles - 1)) + 2 * m * (n + k);
  // In flight: too little of it does not fill the memory's pipe.
  const inFlight = Math.min(1, config.sharedBytes / 150_000);
  const memory = bytes / (bandwidth * isIdle * (0.7 + 0.3 * inFlight));

  const rate = denseFp16 * (config.weights === "w8a8" ? 2 : 1) * tokenEfficiency(config.blockTokens);
  const perTile = (2 * config.blockRows * config.cluster * config.blockTokens * k) / (rate / clusters);
  return Math.max(memory, waves * perTile) + launchOverhead + (schedule === "whole" ? 0 : cutOverhead);
}

/** Fast with many tokens, slow to start. */
function estimateLibrary({ n, k, m }: Point): number {
  return Math.max((n * k + 2 * m * (n + k)) / (0.8 * bandwidth), (2 * n * k * m) / (1.9 * denseFp16)) + 5;
}

/** The rebuild of a weight is paid once per tile: wide tiles use it more often. */
function tokenEfficiency(blockTokens: number): number {
  return Math.min(1, 0.35 + 0.65 * Math.sqrt(blockTokens / 256));
}
