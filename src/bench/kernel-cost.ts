import type { NativeGemmConfig } from "../native/binding.ts";

/** One linear layer at a number of tokens. */
export type Point = { readonly n: number; readonly k: number; readonly m: number };

/** What of a GPU decides the cost; memoryBandwidth in bytes per second. */
export type Gpu = { readonly smCount: number; readonly memoryBandwidth: number };

/**
 * How tiles are shared out: each whole, those of the last wave cut along K in equal parts and done first or last, or
 * stream-K.
 */
export type Schedule = "whole" | "split" | "split-last" | "stream";

/**
 * What one kind of kernel costs, in microseconds. Fitted to a sweep on an H200 on 2026-12-01, cold weights, over the 54
 * shapes of all presets at 12 M, by least squares of log time, the fast ones of a point weighing most; of each point the
 * sweep has those that ranked first before. What the model picks for shapes left out of the fit (a sixth at a time) takes
 * 1.021 (nested FP16) and 1.023 (nested FP8) times as long as the best of the sweep in the geometric mean, and at seven M
 * between, of the kernels as they are now, 1.021 and 1.015. The constants rank; not each is a physical quantity.
 */
type Costs = {
  /** Once. */
  readonly launch: number;
  /** The share of the memory's bandwidth, and how much of it a byte of weights costs that is read again for more tokens. */
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
  /** What a block draws from the memory at most, in TB/s, where so few are at work that they do not use all of it. */
  readonly draw: number;
};

const nested16: Costs = {
  launch: 1.038,
  bandwidth: 0.938,
  again: 0.8388,
  step: 0.06531,
  rebuild: 4.713,
  multiply: 22.58,
  l2: 0.1274,
  tile: 0.4274,
  cut: 0.8673,
  part: 0.1888,
  partSums: 0.4267,
  cutFirst: 0.0597,
  streamShare: 0.07104,
  alone: 0.04087,
  draw: 0.07499,
};

const w8a8: Costs = {
  launch: 0.8599,
  bandwidth: 0.9116,
  again: 0.8161,
  step: 0,
  rebuild: 0,
  multiply: 13.08,
  l2: 0.131,
  tile: 0.6167,
  cut: 0.6811,
  part: 0.135,
  partSums: 0.7367,
  cutFirst: 0,
  streamShare: 0.1052,
  alone: 0.1167,
  draw: 0.1212,
};

const costsOf: Readonly<Record<NativeGemmConfig["weights"], Costs>> = {
  nested16,
  // Not fitted on its own: with these constants what the model picks takes 1.020 times as long as the best.
  plain16: nested16,
  w8a16: {
    launch: 1.403,
    bandwidth: 0.9471,
    again: 0.5042,
    step: 0.002303,
    rebuild: 19.23,
    multiply: 9.128,
    l2: 0.6572,
    tile: 0.1781,
    cut: 0.6887,
    part: 0.1483,
    partSums: 1.304,
    cutFirst: 0,
    streamShare: 0.07761,
    alone: 0.1,
    draw: 0.1212,
  },
  w8a8,
  // Not fitted on its own either: with constants fitted to an H100's w8a8, 1.03 times at 64 points there.
  w8a8f32: w8a8,
  a8w8: {
    launch: 0.6816,
    bandwidth: 0.9877,
    again: 2.386,
    step: 0.01034,
    rebuild: 0,
    multiply: 12.79,
    l2: 0.1032,
    tile: 0.9783,
    cut: 0.514,
    part: 0.3304,
    partSums: 0.6364,
    cutFirst: 0.4307,
    streamShare: 0.0658,
    alone: 0.0002249,
    draw: 0.1212,
  },
};

/** Microseconds that a launch would take; Infinity for a schedule that does the same as "whole" or is never faster. */
export function kernelCost(
  config: NativeGemmConfig,
  schedule: Schedule,
  point: Point,
  { smCount, memoryBandwidth }: Gpu,
): number {
  const { blockRows, blockTokens, blockK, tokenStagesPerStep, clusterRows, clusterTokens, weights } = config;
  // Tokens are the rows of a tile where the operands have changed places.
  const [n, m] = weights === "a8w8" ? [point.m, point.n] : [point.n, point.m];
  const { k } = point;
  const cost = costsOf[weights];
  const clusters = Math.floor(smCount / (clusterRows * clusterTokens));
  if (clusters === 0) return Number.POSITIVE_INFINITY;
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
  const bandwidth = (cost.bandwidth * memoryBandwidth) / 1e6;
  const memory = bytes / bandwidth;
  const drawn = last.busy * clusterRows * clusterTokens * cost.draw * 1e6;
  const sums = (blockRows * blockTokens * 4) / 131072;
  const share = (rest + (schedule === "stream" && full > 0 ? clusters : 0)) / tiles;
  const slower = schedule === "stream" ? 1 + cost.streamShare : 1;
  return (
    cost.launch +
    norm(last.fullSteps * step, memory * (1 - share)) +
    norm(last.steps * step * slower, memory * share * norm(1, bandwidth / drawn)) +
    last.tiles * cost.tile +
    last.cuts * (cost.cut + (cost.part + cost.partSums * sums) * last.parts) +
    (schedule === "split" && full > 0 ? cost.cutFirst : 0)
  );
}

/** Of cuBLASLt with a scale per row and token. */
export function libraryCost({ n, k, m }: Point, { smCount, memoryBandwidth }: Gpu): number {
  const memory = (n * k + m * (3 * k + 2 * n)) / ((0.834 * memoryBandwidth) / 1e6);
  // Its tiles are of 128 tokens or 256.
  const tokens = Math.ceil(m / 128) * 128;
  const waves = (n * tokens) / (128 * 256 * smCount) + 0.2404;
  return 4.033 + norm(memory, waves * (k / 64) * 0.399);
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
 * A block adds the sums of all others of its tile, one after the other: with more it was the best of layers of 896 and
 * 1152 rows alone.
 */
const mostStreamParts = 4;

/**
 * Steps of the full waves and of the last, clusters that are at work there, tiles that a block ends, times it meets
 * others, and parts of a tile that meet there; as plan_launch.
 */
function lastWave(schedule: Schedule, waves: Waves) {
  const { full, rest, clusters, steps } = waves;
  if (schedule === "whole") {
    const isPartial = rest > 0 ? 1 : 0;
    return {
      fullSteps: full * steps,
      steps: isPartial * steps,
      busy: Math.max(1, rest),
      tiles: full + isPartial,
      cuts: 0,
      parts: 0,
    };
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
      busy: (rest * parts) / rounds,
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
    busy: Math.min(clusters, cut * steps),
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
