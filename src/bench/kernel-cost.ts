import type { NativeGemmConfig } from "../native/binding.ts";

/** One linear layer at a number of tokens. */
export type Point = { readonly n: number; readonly k: number; readonly m: number };

/** How tiles are shared out: each whole, those of the last wave cut along K in equal parts, or stream-K. */
export type Schedule = "whole" | "split" | "stream";

/**
 * What one kind of kernel costs, in microseconds of one H100 80GB HBM3. Fitted on 2026-11-22 to the contenders of 14
 * shapes of KERNELS.md at 12 M by least squares of log time, the fast ones of a point weighing most. What the model
 * picked for a shape left out of the fit took 1.024 (nested FP16) and 1.028 (nested FP8) times as long as the best
 * contender in the geometric mean, 1.30 and 1.24 at worst. They rank; not each is a physical quantity.
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
  /** The end of a tile, and for each 131,072 bytes of its sums. */
  readonly tile: number;
  readonly tileSums: number;
  /** The same where the parts of a cut tile meet. */
  readonly cut: number;
  readonly cutSums: number;
  /** Of stream-K: once, and the share by which its steps are longer, each block being at a K of its own. */
  readonly stream: number;
  readonly streamShare: number;
};

const nested16: Costs = {
  launch: 0.6389,
  bandwidth: 3.047,
  step: 0.1496,
  rebuild: 26.5,
  multiply: 10.05,
  l2: 0.1071,
  tile: 1.583,
  tileSums: 5.812,
  cut: 1.031,
  cutSums: 5.678,
  stream: 0.03399,
  streamShare: 0.2297,
};

const costsOf: Readonly<Record<NativeGemmConfig["weights"], Costs>> = {
  nested16,
  // Not fitted: the bytes are the same, and it only ranks shapes of tiles among themselves.
  plain16: nested16,
  w8a16: {
    launch: 4.114,
    bandwidth: 3.156,
    step: 0.02152,
    rebuild: 0.6134,
    multiply: 0.2009,
    l2: 0.05594,
    tile: 1.155,
    tileSums: 5.208,
    cut: 0.5658,
    cutSums: 4.252,
    stream: 0.8254,
    streamShare: 0.009754,
  },
  w8a8: {
    launch: 2.21,
    bandwidth: 3.122,
    step: 0.1331,
    rebuild: 0.1367,
    multiply: 8.928,
    l2: 0.1321,
    tile: 1.263,
    tileSums: 4.814,
    cut: 0.6631,
    cutSums: 3.369,
    stream: 0.02095,
    streamShare: 0.3076,
  },
};

/** Microseconds that a launch would take; Infinity for a schedule that does the same as "whole". */
export function kernelCost(
  config: NativeGemmConfig,
  schedule: Schedule,
  point: Point,
  smCount: number,
): number {
  const { blockRows, blockTokens, blockK, cluster, weights } = config;
  const { n, k, m } = point;
  const cost = costsOf[weights];
  const clusters = Math.floor(smCount / cluster);
  const steps = Math.ceil(k / blockK);
  const tiles = Math.ceil(n / (blockRows * cluster)) * Math.ceil(m / blockTokens);
  const full = Math.floor(tiles / clusters);
  const rest = tiles % clusters;
  const last = lastWave(schedule, { full, rest, clusters, steps });
  if (last === undefined) return Number.POSITIVE_INFINITY;

  const weightBytes = weights === "plain16" || weights === "nested16" ? 2 : 1;
  const tokenBytes = weights === "w8a8" ? 1 : 2;
  const tileWeights = (blockRows * blockK) / 1e6;
  const step = norm(
    cost.step + tileWeights * (cost.rebuild + (blockTokens / 64) * cost.multiply),
    (blockRows * weightBytes * blockK + (blockTokens * blockK * tokenBytes) / cluster) / 1e6 / cost.l2,
  );
  const memory = (n * k * weightBytes + m * k * tokenBytes + 2 * m * n) / (cost.bandwidth * 1e6);
  const sums = (blockRows * blockTokens * 4) / 131072;
  const share = (rest + (schedule === "stream" && full > 0 ? clusters : 0)) / tiles;
  const slower = schedule === "stream" ? 1 + cost.streamShare : 1;
  return (
    cost.launch +
    norm(last.fullSteps * step, memory * (1 - share)) +
    norm(last.steps * step * slower, memory * share) +
    last.tiles * (cost.tile + cost.tileSums * sums) +
    last.cuts * (cost.cut + cost.cutSums * sums) +
    (schedule === "stream" ? cost.stream : 0)
  );
}

/** Of cuBLASLt with a scale per row and token. */
export function libraryCost({ n, k, m }: Point): number {
  const memory = (n * k + m * (3 * k + 2 * n)) / (2.622 * 1e6);
  const waves = (n * Math.max(m, 128)) / (128 * 256 * 132) + 0.01112;
  return 5.015 + norm(memory, waves * (k / 64) * 0.3932);
}

type Waves = {
  readonly full: number;
  readonly rest: number;
  readonly clusters: number;
  readonly steps: number;
};

/** Steps of the full waves and of the last, tiles that a block ends, and times it meets others; as plan_launch. */
function lastWave(schedule: Schedule, { full, rest, clusters, steps }: Waves) {
  if (schedule === "whole") {
    const isPartial = rest > 0 ? 1 : 0;
    return { fullSteps: full * steps, steps: isPartial * steps, tiles: full + isPartial, cuts: 0 };
  }
  if (rest === 0) return undefined;
  if (schedule === "split") {
    const parts = partsOfLastWave(rest, clusters, steps);
    if (parts === undefined) return undefined;
    const rounds = Math.ceil((rest * parts) / clusters);
    return { fullSteps: full * steps, steps: (rounds * steps) / parts, tiles: full + rounds, cuts: rounds };
  }
  return {
    fullSteps: Math.max(0, full - 1) * steps,
    steps: Math.ceil((rest * steps) / clusters) + (full > 0 ? steps : 0),
    tiles: full + 1,
    cuts: 1,
  };
}

/** parts_of_last_wave of kernels/interface/launch_plan.h; undefined where whole tiles are better. */
function partsOfLastWave(rest: number, clusters: number, steps: number): number | undefined {
  let best = steps;
  let bestParts: number | undefined;
  for (let parts = 2; parts <= 16 && parts * 2 <= steps; parts++) {
    const time = Math.ceil((rest * parts) / clusters) * (steps / parts + 7);
    if (time < best) [best, bestParts] = [time, parts];
  }
  return bestParts;
}

/** Nearly the larger of two times that overlap, and more than it where they are alike. */
function norm(a: number, b: number): number {
  return (a ** 4 + b ** 4) ** 0.25;
}
