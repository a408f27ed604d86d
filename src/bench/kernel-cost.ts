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
 * over the 54 shapes of all presets at 12 M and 12 of them at 9 more, by least squares of log time, the fast ones of a
 * point weighing most. What the model picked for shapes left out of the fit (a sixth at a time) took 1.034 (nested FP16)
 * and 1.026 (nested FP8) times as long as the best contender in the geometric mean, 1.33 and 1.25 at worst. Only
 * contenders of the sweep count there, which had none but "whole" from 12 full waves on. The constants rank; not each is
 * a physical quantity.
 */
type Costs = {
  /** Once. */
  readonly launch: number;
  /** Of memory, in TB/s, and the share of that which weights cost that are read again for more tokens. */
  readonly bandwidth: number;
  readonly again: number;
  /** A step along K: whatever the tile, per 10^6 weights of it for their rebuild, and for each 64 tokens on top. */
  readonly step: number;
  readonly rebuild: number;
  readonly multiply: number;
  /** What a block reads from the L2, in TB/s. */
  readonly l2: number;
  /** The end of a tile. */
  readonly tile: number;
  /** Where the parts of a cut tile meet, and there for each part, and for each 131,072 bytes of its sums. */
  readonly cut: number;
  readonly part: number;
  readonly partSums: number;
  /** Once, where the cut tiles come before whole ones. */
  readonly cutFirst: number;
  /** Of stream-K: the share by which its steps are longer, each block being at a K of its own. */
  readonly streamShare: number;
  /** How much longer a warpgroup that is alone in its block takes to multiply, as a share. */
  readonly alone: number;
};

const nested16: Costs = {
  launch: 0.6853,
  bandwidth: 3.152,
  again: 0.5639,
  step: 0.08848,
  rebuild: 11.02,
  multiply: 20.17,
  l2: 0.09716,
  tile: 0.5706,
  cut: 1.335,
  part: 0.1067,
  partSums: 0.7672,
  cutFirst: 0.07068,
  streamShare: 0.2242,
  alone: 0.04256,
};

const w8a8: Costs = {
  launch: 0.562,
  bandwidth: 3.129,
  again: 0.5249,
  step: 0.001977,
  rebuild: 0.009119,
  multiply: 13.15,
  l2: 0.09653,
  tile: 0.8819,
  cut: 1.223,
  part: 0.001113,
  partSums: 1.209,
  cutFirst: 0.2367,
  streamShare: 0.2571,
  alone: 0.1505,
};

const costsOf: Readonly<Record<NativeGemmConfig["weights"], Costs>> = {
  nested16,
  // Not fitted on its own: with these constants what the model picks takes 1.028 times as long as the best.
  plain16: nested16,
  w8a16: {
    launch: 1.765,
    bandwidth: 3.117,
    again: 0.1827,
    step: 0.001073,
    rebuild: 20.97,
    multiply: 10.98,
    l2: 0.6456,
    tile: 0.1186,
    cut: 0.8513,
    part: 0.1453,
    partSums: 0.2862,
    cutFirst: 0.1651,
    streamShare: 0.3098,
    alone: 0.1,
  },
  w8a8,
  // Not fitted on its own either: of 64 points of an H100, what the model picks took 1.03 times as long as the best.
  w8a8f32: w8a8,
  a8w8: {
    launch: 0.7095,
    bandwidth: 4.379,
    again: 0.4455,
    step: 0.03572,
    rebuild: 2.338,
    multiply: 11.84,
    l2: 0.0855,
    tile: 0.9629,
    cut: 0.886,
    part: 0.0002746,
    partSums: 1.644,
    cutFirst: 0.4988,
    streamShare: 0.1604,
    alone: 0.1,
  },
};

/** Microseconds that a launch would take; Infinity for a schedule that does the same as "whole" or is never faster. */
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
  const isE4m3 = weights === "w8a8" || weights === "w8a8f32" || weights === "a8w8";
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
  // Each tile of tokens after the first reads all weights again, from the L2.
  const again =
    weights === "a8w8"
      ? m * k * (1 - 1 / Math.ceil(n / (blockRows * clusterRows)))
      : n * k * weightBytes * (1 - 1 / Math.ceil(m / (blockTokens * clusterTokens)));
  const bytes = n * k * weightBytes + m * k * tokenBytes + 2 * m * n + cost.again * again;
  const memory = bytes / (cost.bandwidth * 1e6);
  const sums = (blockRows * blockTokens * 4) / 131072;
  const share = (rest + (schedule === "stream" && full > 0 ? clusters : 0)) / tiles;
  const slower = schedule === "stream" ? 1 + cost.streamShare : 1;
  return (
    cost.launch +
    norm(last.fullSteps * step, memory * (1 - share)) +
    norm(last.steps * step * slower, memory * share) +
    last.tiles * cost.tile +
    last.cuts * (cost.cut + (cost.part + cost.partSums * sums) * last.parts) +
    (schedule === "split" && full > 0 ? cost.cutFirst : 0)
  );
}

/** Of cuBLASLt with a scale per row and token. */
export function libraryCost({ n, k, m }: Point): number {
  const memory = (n * k + m * (3 * k + 2 * n)) / (2.807 * 1e6);
  const waves = (n * Math.max(m, 128)) / (128 * 256 * 132) + 0.2156;
  return 3.703 + norm(memory, waves * (k / 64) * 0.3997);
}

type Waves = {
  readonly full: number;
  readonly rest: number;
  readonly clusters: number;
  readonly steps: number;
  /** Lost with each part of a cut tile. */
  readonly exchangeSteps: number;
};

/** A block adds the sums of all others of its tile, one after the other: with more it was not once the best. */
const mostStreamParts = 4;

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
  const cut = full > 0 ? rest + clusters : rest;
  const parts = Math.ceil(Math.min(clusters, cut * steps) / cut) + 1;
  if (parts > mostStreamParts) return undefined;
  return {
    fullSteps: Math.max(0, full - 1) * steps,
    steps: Math.ceil((rest * steps) / clusters) + (full > 0 ? steps : 0),
    tiles: full + 1,
    cuts: 1,
    parts,
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
