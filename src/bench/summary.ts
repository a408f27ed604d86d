import type { Precision } from "../device/device.ts";
import type { BenchRow } from "./row.ts";
import { geometricMean } from "./stats.ts";

/** Time of the baseline / time of the kernel, over some points; above 1 is faster. */
export type Ratios = {
  readonly points: number;
  readonly geomean: number;
  readonly worst: RatioPoint;
  readonly best: RatioPoint;
};

export type RatioPoint = {
  readonly ratio: number;
  readonly shape: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly config: string | null;
};

/** One kernel against one baseline; each side is its fastest configuration at a point, unless `config` names one. */
export type Summary = {
  readonly kernel: Precision;
  /** Given for kernels that have several configurations at every point, as the two scalings of cuBLASLt's FP8. */
  readonly config: string | null;
  readonly baseline: Precision;
  /** The kernel's time includes quantising its activations; the baseline's too where it needs that. */
  readonly with_quantise: boolean;
  /** `<=64`, `128..1024`, `>=2048` (of M) and `all`; those without points are absent. Other M count in `all` alone. */
  readonly bands: Readonly<Record<string, Ratios>>;
  /** By M, ascending. */
  readonly per_m: readonly (Ratios & { readonly m: number })[];
};

const bands: readonly { readonly name: string; readonly has: (m: number) => boolean }[] = [
  { name: "<=64", has: (m) => m <= 64 },
  { name: "128..1024", has: (m) => m >= 128 && m <= 1024 },
  { name: ">=2048", has: (m) => m >= 2048 },
  { name: "all", has: () => true },
];

/** Each kernel against fp16, and nested-fp8 also against the better fp8. */
export function summarise(rows: readonly BenchRow[]): Summary[] {
  const timed = rows.filter(({ median_us }) => median_us !== null);
  const kernels = [...new Set(timed.map(({ kernel }) => kernel))];
  return kernels.flatMap((kernel) => {
    const own = timed.filter((row) => row.kernel === kernel);
    const baselines: Precision[] = kernel === "nested-fp8" ? ["fp16", "fp8"] : ["fp16"];
    return baselines
      .filter((baseline) => baseline !== kernel)
      .flatMap((baseline) => againstBaseline(own, timed, baseline));
  });
}

function againstBaseline(
  own: readonly BenchRow[],
  timed: readonly BenchRow[],
  baseline: Precision,
): Summary[] {
  const others = timed.filter(({ kernel }) => kernel === baseline);
  const quantised = own.some(({ quantise_us }) => quantise_us !== undefined);
  const summaries = [
    summaryOf(own, others, null, false),
    ...(quantised ? [summaryOf(own, others, null, true)] : []),
    ...commonConfigs(own).map((config) =>
      summaryOf(
        own.filter((row) => row.config === config),
        others,
        config,
        false,
      ),
    ),
  ];
  return summaries.filter((summary) => summary !== undefined);
}

/** Configurations that ran at every point, when there is more than one of them. */
function commonConfigs(rows: readonly BenchRow[]): string[] {
  const points = new Set(rows.map(pointOf)).size;
  const configs = [...new Set(rows.map(({ config }) => config))].filter((config) => config !== null);
  const common = configs.filter((config) => rows.filter((row) => row.config === config).length === points);
  return common.length > 1 ? common : [];
}

function summaryOf(
  own: readonly BenchRow[],
  others: readonly BenchRow[],
  config: string | null,
  withQuantise: boolean,
): Summary | undefined {
  const fastest = fastestByPoint(own, withQuantise);
  const baseline = fastestByPoint(others, withQuantise);
  const ratios: RatioPoint[] = [];
  for (const [point, { row, us }] of fastest) {
    const base = baseline.get(point);
    if (base === undefined) continue;
    const { shape, m, n, k } = row;
    ratios.push({ ratio: base.us / us, shape, m, n, k, config: row.config });
  }
  const [first, other] = [own[0], others[0]];
  if (first === undefined || other === undefined || ratios.length === 0) return undefined;
  const ms = [...new Set(ratios.map(({ m }) => m))].sort((a, b) => a - b);
  return {
    kernel: first.kernel,
    config,
    baseline: other.kernel,
    with_quantise: withQuantise,
    bands: Object.fromEntries(
      bands
        .map(({ name, has }) => ({ name, within: ratios.filter(({ m }) => has(m)) }))
        .filter(({ within }) => within.length > 0)
        .map(({ name, within }) => [name, ratiosOf(within)]),
    ),
    per_m: ms.map((m) => ({ m, ...ratiosOf(ratios.filter((point) => point.m === m)) })),
  };
}

function fastestByPoint(
  rows: readonly BenchRow[],
  withQuantise: boolean,
): Map<string, { readonly row: BenchRow; readonly us: number }> {
  const fastest = new Map<string, { row: BenchRow; us: number }>();
  for (const row of rows) {
    const us = (withQuantise ? row.median_with_quantise_us : undefined) ?? row.median_us;
    if (us === null) continue;
    const known = fastest.get(pointOf(row));
    if (known === undefined || us < known.us) fastest.set(pointOf(row), { row, us });
  }
  return fastest;
}

function pointOf({ n, k, m }: BenchRow): string {
  return `${n}x${k} ${m}`;
}

function ratiosOf(points: readonly RatioPoint[]): Ratios {
  const sorted = points.toSorted((a, b) => a.ratio - b.ratio);
  const [worst, best] = [sorted[0], sorted.at(-1)];
  if (worst === undefined || best === undefined) throw new Error("no ratios");
  return { points: points.length, geomean: geometricMean(points.map(({ ratio }) => ratio)), worst, best };
}
