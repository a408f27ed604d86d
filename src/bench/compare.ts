import { UsageError } from "../errors.ts";
import type { ReadResult } from "./read-result.ts";
import type { BenchRow } from "./row.ts";
import { geometricMean } from "./stats.ts";

/**
 * SAME: the change is within the threshold even at the ends of its interval. SLOW, FAST: the interval excludes no
 * change, and the medians differ by more than the threshold. unclear: neither. FAILED: it has no time any more,
 * being incorrect, in error or not supported.
 */
export type Verdict = "SAME" | "FAST" | "SLOW" | "unclear" | "FAILED";

/** One kernel at one point before and after; ratio is time after / time before, above 1 is slower. */
export type ComparedRow = {
  readonly kernel: string;
  readonly config: { readonly before: string | null; readonly after: string | null };
  readonly shape: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly before_us: number;
  readonly after_us: number | null;
  readonly ratio: number | null;
  /** From the 95 % intervals of both medians; null for too few samples. */
  readonly ratio_interval: readonly [number, number] | null;
  readonly verdict: Verdict;
};

/** A row that one side alone has. */
export type MissingRow = Pick<BenchRow, "kernel" | "config" | "shape" | "m" | "n" | "k">;

export type Comparison = {
  readonly threshold: number;
  readonly devices: { readonly before: string; readonly after: string };
  /** Differences of driver, libraries and sums, for people. */
  readonly changes: readonly string[];
  readonly rows: readonly ComparedRow[];
  readonly missing: { readonly before: readonly MissingRow[]; readonly after: readonly MissingRow[] };
  readonly counts: Readonly<Record<Verdict, number>>;
  /** Geometric mean of time after / time before, by kernel. */
  readonly geomean: Readonly<Record<string, number>>;
  /** Rows slower by more than the threshold that have too few samples for a verdict: they are unclear. */
  readonly unjudged: number;
  /** Whether a row is SLOW or FAILED. */
  readonly regression: boolean;
};

export type CompareOptions = {
  /** Smallest change of the median that counts: 0.03 is 3 %. */
  readonly threshold: number;
  readonly allowDifferentDevices: boolean;
};

/**
 * Compares the times of two results, and nothing derived from them.
 *
 * @throws UsageError for different devices unless allowed, and for cold against warm times
 */
export function compareResults(
  before: ReadResult,
  after: ReadResult,
  { threshold, allowDifferentDevices }: CompareOptions,
): Comparison {
  refuseDifferent(before, after, allowDifferentDevices);
  const { pairs, missing } = matchRows(before.rows, after.rows);
  const rows = pairs.map(([old, now]) => compareRows(old, now, threshold));
  const counts: Record<Verdict, number> = { SAME: 0, FAST: 0, SLOW: 0, unclear: 0, FAILED: 0 };
  for (const { verdict } of rows) counts[verdict]++;
  const kernels = [...new Set(rows.map(({ kernel }) => kernel))];
  const ratiosOf = (kernel: string): number[] =>
    rows.flatMap((row) => (row.kernel === kernel && row.ratio !== null ? [row.ratio] : []));
  return {
    threshold,
    devices: { before: before.device.name, after: after.device.name },
    changes: changesOf(before, after),
    rows,
    missing,
    counts,
    geomean: Object.fromEntries(
      kernels
        .map((kernel) => [kernel, ratiosOf(kernel)] as const)
        .filter(([, ratios]) => ratios.length > 0)
        .map(([kernel, ratios]) => [kernel, geometricMean(ratios)]),
    ),
    unjudged: rows.filter(
      ({ ratio, ratio_interval }) => ratio !== null && ratio_interval === null && ratio > 1 + threshold,
    ).length,
    regression: counts.SLOW + counts.FAILED > 0,
  };
}

function refuseDifferent(before: ReadResult, after: ReadResult, allowDevices: boolean): void {
  if (before.device.name !== after.device.name && !allowDevices) {
    throw new UsageError(
      `the results are of different devices: ${JSON.stringify(before.device.name)} and ${JSON.stringify(after.device.name)}`,
      { hint: "give --allow-different-devices to compare them all the same" },
    );
  }
  if (before.options.cold === after.options.cold) return;
  const state = ({ options }: ReadResult): string => (options.cold ? "cold" : "warm");
  throw new UsageError(
    `the first result was measured with ${state(before)} caches, the second with ${state(after)} ones`,
    { hint: "measure both with the same of --cold and --warm" },
  );
}

function changesOf(before: ReadResult, after: ReadResult): string[] {
  const parts = ({ device, options }: ReadResult) =>
    new Map(
      Object.entries({
        driver: device.driver,
        ...device.libraries,
        ...(options.fp8_sums !== undefined && { fp8_sums: options.fp8_sums }),
      }),
    );
  const [old, now] = [parts(before), parts(after)];
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((name) => (old.get(name) ?? null) !== (now.get(name) ?? null))
    .map((name) => `${name} ${old.get(name) ?? "none"} -> ${now.get(name) ?? "none"}`);
}

/**
 * Rows of the same kernel, point and configuration; and where one is left on each side, as when dispatch now picks
 * another configuration, these two. A point that failed as a whole is the end of all its rows.
 */
function matchRows(before: readonly BenchRow[], after: readonly BenchRow[]) {
  // What never had a time has nothing to compare; what lost it is a finding.
  const [earlier, later] = [groupByPoint(before.filter(hasTime)), groupByPoint(after)];
  const pairs: [BenchRow, BenchRow][] = [];
  const missing: { before: MissingRow[]; after: MissingRow[] } = { before: [], after: [] };
  for (const point of new Set([...earlier.keys(), ...later.keys()])) {
    const [olds, nows] = [[...(earlier.get(point) ?? [])], [...(later.get(point) ?? [])]];
    for (const old of [...olds]) {
      const now = nows.find(({ config }) => config === old.config);
      if (now !== undefined) pairs.push([take(olds, old), take(nows, now)]);
    }
    const [old, now] = [olds[0], nows[0]];
    if (old && now && olds.length === 1 && nows.length === 1) pairs.push([take(olds, old), take(nows, now)]);
    const failed = nows.find((row) => !hasTime(row));
    if (failed) for (const lost of [...olds]) pairs.push([take(olds, lost), failed]);
    missing.after.push(...olds.map(identityOf));
    missing.before.push(...nows.filter(hasTime).map(identityOf));
  }
  return { pairs, missing };
}

function hasTime({ median_us }: BenchRow): boolean {
  return median_us !== null;
}

function groupByPoint(rows: readonly BenchRow[]): Map<string, BenchRow[]> {
  const groups = new Map<string, BenchRow[]>();
  for (const row of rows) {
    const point = `${row.kernel} ${row.n}x${row.k} ${row.m}`;
    groups.set(point, [...(groups.get(point) ?? []), row]);
  }
  return groups;
}

function take(rows: BenchRow[], row: BenchRow): BenchRow {
  rows.splice(rows.indexOf(row), 1);
  return row;
}

function identityOf({ kernel, config, shape, m, n, k }: BenchRow): MissingRow {
  return { kernel, config, shape, m, n, k };
}

function compareRows(before: BenchRow, after: BenchRow, threshold: number): ComparedRow {
  const { kernel, shape, m, n, k } = before;
  const config = { before: before.config, after: after.config };
  const place = { kernel, config, shape, m, n, k, before_us: before.median_us ?? Number.NaN };
  if (after.median_us === null) {
    return { ...place, after_us: null, ratio: null, ratio_interval: null, verdict: "FAILED" };
  }
  const ratio = after.median_us / place.before_us;
  const [old, now] = [medianInterval(before), medianInterval(after)];
  const interval = old && now ? ([now[0] / old[1], now[1] / old[0]] as const) : null;
  return {
    ...place,
    after_us: after.median_us,
    ratio,
    ratio_interval: interval,
    verdict: interval === null ? "unclear" : verdictOf(ratio, interval, threshold),
  };
}

/** Equally many per cent faster and slower count the same: the bounds are 1 + threshold and its inverse. */
function verdictOf(ratio: number, [low, high]: readonly [number, number], threshold: number): Verdict {
  const bound = 1 + threshold;
  if (low > 1 && ratio > bound) return "SLOW";
  if (high < 1 && ratio < 1 / bound) return "FAST";
  return low >= 1 / bound && high <= bound ? "SAME" : "unclear";
}

/** The quartiles of fewer say nothing of the spread. */
export const fewestSamples = 5;

/**
 * A 95 % interval of the median, from its quartiles: the notch of McGill, Tukey and Larsen (1978), on a logarithmic
 * scale, as only ratios of times are looked at.
 */
function medianInterval({
  median_us,
  q1_us,
  q3_us,
  samples,
}: BenchRow): readonly [number, number] | undefined {
  if (median_us === null || q1_us === null || q3_us === null || samples < fewestSamples) return undefined;
  const factor = Math.exp((1.57 * Math.log(q3_us / q1_us)) / Math.sqrt(samples));
  return [median_us / factor, median_us * factor];
}
