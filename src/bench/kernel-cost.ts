import type { NativeGemmConfig } from "../native/binding.ts";

/** One linear layer at a number of tokens. */
export type Point = { readonly n: number; readonly k: number; readonly m: number };

/**
 * How tiles are shared out: each whole, those of the last wave cut along K in equal parts and done first or last, or
 * stream-K.
 */
export type Schedule = "whole" | "split" | "split-last" | "stream";

/**
 * What one kind of kernel costs, in microseconds of one H100 80GB HBM3. Fitted to a sweep of 2026-11-23, cold weights,
 * over the 24 shapes of KERNELS.md at 12 M by least squares of log time, the fast ones of a point weighing most. What
 * the model picked for a shape left out of the fit took 1.025 (nested FP16) and 1.030 (nested FP8) times as long as the
 * best contender in the geometric mean, 1.22 and 1.20 at worst. Only contenders of the sweep count there, which
 * had none but "whole" from 12 full waves on. The constants rank; not each is a physical quantity.
 */
type Costs = {
  /** Once. */
  readonly launch: number;
  /** Of memory, in TB/s. */
  readonly bandwidth: number;
  /** A step along K: whatever the tile, per 10^6 weights of it for their rebuild, and for each 64 tokens on top. */
  readonly step: number;
  readonly rebuild: number;
  readonly multiply: number;
  /** What a block reads from the L2, in TB/s. */
  readonly l2: number;
  /** The end of a tile. */
  readonly tile: number;
  /** Where the parts of a cut tile meet, and there for each part and 131,072 bytes of its sums. */
  readonly cut: number;
  readonly partSums: number;
  /** Once, where the cut tiles come before whole ones. */
  readonly cutFirst: number;
  /** Of stream-K: the share by which its steps are longer, each block being at a K of its own. */
  readonly streamShare: number;
  /** How much longer a warpgroup that is alone in its block takes to multiply, as a share. */
  readonly alone: number;
};

const nested16: Costs = {
  launch: 0.1341,
  bandwidth: 3.044,
  step: 0.0966,
  rebuild: 9.838,
  multiply: 20.36,
  l2: 0.08261,
  tile: 1.258,
  cut: 1.12,
  partSums: 1.206,
  cutFirst: 0.5384,
  streamShare: 0.2551,
  alone: 0.1326,
};

const w8a8: Costs = {
  launch: 0.9339,
  bandwidth: 3.03,
  step: 0,
  rebuild: 0.009119,
  multiply: 12.88,
  l2: 0.08031,
  tile: 0.8201,
  cut: 0.9923,
  partSums: 1.73,
  cutFirst: 0.1938,
  streamShare: 0.2741,
  alone: 0.1516,
};

const costsOf: Readonly<Record<NativeGemmConfig["weights"], Costs>> = {
  nested16,
  // Not fitted on its own: with these constants what the model picks takes 1.025 times as long as the best.
  plain16: nested16,
  w8a16: {
    launch: 2.594,
    bandwidth: 3.043,
    step: 0.05456,
    rebuild: 16.18,
    multiply: 8.387,
    l2: 0.1143,
    tile: 0,
    cut: 0.275,
    partSums: 3.821,
    cutFirst: 0.4654,
    streamShare: 0.3996,
    alone: 0.1,
  },
  w8a8,
  // Not fitted.
  a8w8: w8a8,
};

/** Microseconds that a launch would take; Infinity for a schedule that does the same as "whole". */
export function kernelCost(
  config: NativeGemmConfig,
  schedule: Schedule,
  point: Point,
  smCount: number,
): number {
  const { blockRows, blockTokens, blockK, tokenStagesPerStep, clusterRows, clusterTokens, weights } = config;
  // Tokens are the rows of a tile where the operands have changed places.
  const [n, m] = weights === "a8w8" ? [point.m, point.n] : [point.n, point.m];
  const { k } = point;
  const cost = costsOf[weights];
  const clusters = Math.floor(smCount / (clusterRows * clusterTokens));
  const steps = Math.ceil(k / blockK);
  const tiles = Math.ceil(n / (blockRows * clusterRows)) * Math.ceil(m / (blockTokens * clusterTokens));
  const full = Math.floor(tiles / clusters);
  const rest = tiles % clusters;
  const exchangeSteps = 7 / tokenStagesPerStep;
  const last = lastWave(schedule, { full, rest, clusters, steps, exchangeSteps });
  if (last === undefined) return Number.POSITIVE_INFINITY;

  const weightBytes = weights === "plain16" || weights === "nested16" ? 2 : 1;
  const isE4m3 = weights === "w8a8" || weights === "a8w8";
  const tokenBytes = isE4m3 ? 1 : 2;
  const tileWeights = (blockRows * blockK) / 1e6;
  const chunkK = isE4m3 ? 128 : 64;
  const isAlone = blockRows === 64 && blockK === chunkK * tokenStagesPerStep;
  const step = norm(
    cost.step +
      tileWeights * (isAlone ? 1 + cost.alone : 1) * (cost.rebuild + (blockTokens / 64) * cost.multiply),
    (blockK * ((blockRows * weightBytes) / clusterTokens + (blockTokens * tokenBytes) / clusterRows)) /
      1e6 /
      cost.l2,
  );
  const memory = (n * k * weightBytes + m * k * tokenBytes + 2 * m * n) / (cost.bandwidth * 1e6);
  const sums = (blockRows * blockTokens * 4) / 131072;
  const share = (rest + (schedule === "stream" && full > 0 ? clusters : 0)) / tiles;
  const slower = schedule === "stream" ? 1 + cost.streamShare : 1;
  return (
    cost.launch +
    norm(last.fullSteps * step, memory * (1 - share)) +
    norm(last.steps * step * slower, memory * share) +
    last.tiles * cost.tile +
    last.cuts * (cost.cut + cost.partSums * sums * last.parts) +
    (schedule === "split" && full > 0 ? cost.cutFirst : 0)
  );
}

/** Of cuBLASLt with a scale per row and token. */
export function libraryCost({ n, k, m }: Point): number {
  const memory = (n * k + m * (3 * k + 2 * n)) / (2.66 * 1e6);
  const waves = (n * Math.max(m, 128)) / (128 * 256 * 132) + 0.2217;
  return 2.66 + norm(memory, waves * (k / 64) * 0.403);
}

type Waves = {
  readonly full: number;
  readonly rest: number;
  readonly clusters: number;
  readonly steps: number;
  /** Lost with each part of a cut tile. */
  readonly exchangeSteps: number;
};

/**
 * Steps of the full waves and of the last, tiles that a block ends, times it meets others, and parts of a tile that
 * meet there; as plan_launch.
 */
function lastWave(schedule: Schedule, waves: Waves) {
  const { full, rest, clusters, steps } = waves;
  if (schedule === "whole") {
    const isPartial = rest > 0 ? 1 : 0;
    return { fullSteps: full * steps, steps: isPartial * steps, tiles: full + isPartial, cuts: 0, parts: 0 };
  }
  if (rest === 0) return undefined;
  // Done last they are worth it after whole ones only.
  if (schedule === "split-last" && full === 0) return undefined;
  if (schedule === "split" || schedule === "split-last") {
    const parts = partsOfLastWave(waves);
    if (parts === undefined) return undefined;
    const rounds = Math.ceil((rest * parts) / clusters);
    return {
      fullSteps: full * steps,
      steps: (rounds * steps) / parts,
      tiles: full + rounds,
      cuts: rounds,
      parts,
    };
  }
  return {
    fullSteps: Math.max(0, full - 1) * steps,
    steps: Math.ceil((rest * steps) / clusters) + (full > 0 ? steps : 0),
    tiles: full + 1,
    cuts: 1,
    parts: 2,
  };
}

/** parts_of_last_wave of kernels/interface/launch_plan.h; undefined where whole tiles are better. */
function partsOfLastWave({ rest, clusters, steps, exchangeSteps }: Waves): number | undefined {
  let best = steps;
  let bestParts: number | undefined;
  for (let parts = 2; parts <= 16 && parts * 2 <= steps; parts++) {
    const time = Math.ceil((rest * parts) / clusters) * (steps / parts + exchangeSteps * (0.7 + 0.2 * parts));
    if (time < best) [best, bestParts] = [time, parts];
  }
  return bestParts;
}

/** Nearly the larger of two times that overlap, and more than it where they are alike. */
function norm(a: number, b: number): number {
  return (a ** 4 + b ** 4) ** 0.25;
}
