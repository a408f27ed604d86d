import assert from "node:assert/strict";
import { test } from "node:test";
import type { Comparison } from "../../src/bench/compare.ts";
import { compareResults } from "../../src/bench/compare.ts";
import type { ReadResult } from "../../src/bench/read-result.ts";
import type { BenchRow } from "../../src/bench/row.ts";
import { UsageError } from "../../src/errors.ts";
import { rowOf } from "./rows.ts";

function resultOf(rows: readonly BenchRow[], device: Partial<ReadResult["device"]> = {}, cold = true) {
  return {
    device: {
      kind: "cuda",
      name: "H100",
      compute_capability: null,
      sm_count: null,
      memory_bytes: null,
      memory_bandwidth: null,
      driver: "580",
      libraries: { cublaslt: "13.1" },
      ...device,
    },
    options: { cold, min_samples: 20, max_noise: 0.01, timeout_s: 5, tune: false },
    started: "2026-11-22T00:00:00.000Z",
    rows,
    summary: [],
  } satisfies ReadResult;
}

const options = { threshold: 0.03, allowDifferentDevices: false };
const compare = (before: readonly BenchRow[], after: readonly BenchRow[]): Comparison =>
  compareResults(resultOf(before), resultOf(after), options);

/** A median with quartiles this share away, of 100 samples: the interval of the median is 0.157 of twice the share. */
const timed = (median: number, spread: number, samples = 100): BenchRow =>
  rowOf("fp16", {}, median, {
    q1_us: median * (1 - spread),
    q3_us: median * (1 + spread),
    samples,
  });

const cases: readonly [string, BenchRow, BenchRow, string][] = [
  ["equal and quiet", timed(100, 0.01), timed(100, 0.01), "SAME"],
  ["within the threshold, certainly", timed(100, 0.001), timed(102.5, 0.001), "SAME"],
  ["beyond the threshold, certainly", timed(100, 0.01), timed(104, 0.01), "SLOW"],
  ["faster, certainly", timed(104, 0.01), timed(100, 0.01), "FAST"],
  ["beyond the threshold, but the intervals overlap", timed(100, 0.3), timed(110, 0.3), "unclear"],
  ["equal medians, but so noisy that a change may hide", timed(100, 0.2), timed(100, 0.2), "unclear"],
  [
    "a certain change that may or may not reach the threshold",
    timed(100, 0.03),
    timed(102.9, 0.03),
    "unclear",
  ],
  [
    "the same noise with a hundred times the samples",
    timed(100, 0.2, 10_000),
    timed(100, 0.2, 10_000),
    "SAME",
  ],
  ["far apart, but of 4 samples each", timed(100, 0.001, 4), timed(200, 0.001, 4), "unclear"],
  ["far apart, of 5 samples each", timed(100, 0.001, 5), timed(200, 0.001, 5), "SLOW"],
  ["twice as slow and noisy", timed(100, 0.2), timed(200, 0.2), "SLOW"],
];

for (const [title, before, after, verdict] of cases) {
  test(`${title}: ${verdict}`, () => {
    const comparison = compare([before], [after]);
    assert.equal(comparison.rows[0]?.verdict, verdict);
    assert.equal(comparison.regression, verdict === "SLOW");
    // The other way round says the opposite.
    const opposite = { SLOW: "FAST", FAST: "SLOW" }[verdict] ?? verdict;
    assert.equal(compare([after], [before]).rows[0]?.verdict, opposite);
  });
}

test("the interval of the ratio is that of both medians", () => {
  const [row] = compare([timed(100, 0.1)], [timed(120, 0.1)]).rows;
  const factor = Math.exp((1.57 * Math.log(1.1 / 0.9)) / 10);
  assert.deepEqual(
    row?.ratio_interval?.map((value) => value.toFixed(9)),
    [1.2 / factor ** 2, 1.2 * factor ** 2].map((value) => value.toFixed(9)),
  );
});

test("the threshold decides what counts", () => {
  const [before, after] = [resultOf([timed(100, 0.001)]), resultOf([timed(104, 0.001)])];
  const verdict = (threshold: number) =>
    compareResults(before, after, { ...options, threshold }).rows[0]?.verdict;
  assert.deepEqual([verdict(0.03), verdict(0.05), verdict(0)], ["SLOW", "SAME", "SLOW"]);
});

test("only times are read: rates and ratios of a row may say anything", () => {
  const after = { ...timed(100, 0.001), tflops: 1, gb_s: 1, vs_fp16: 0.01 };
  assert.equal(compare([timed(100, 0.001)], [after]).counts.SAME, 1);
});

test("a kernel that is incorrect now, or failed as a whole, is a regression", () => {
  const broken: BenchRow = { ...timed(1, 0), median_us: null, q1_us: null, q3_us: null, status: "incorrect" };
  const comparison = compare([timed(100, 0.01)], [broken]);
  assert.deepEqual([comparison.rows[0]?.verdict, comparison.rows[0]?.ratio], ["FAILED", null]);
  assert.equal(comparison.regression, true);
  assert.deepEqual(comparison.geomean, {});
  const both = ["cublaslt", "cublaslt_rowwise"].map((config) => ({ ...timed(100, 0.01), config }));
  const whole = compare(both, [{ ...broken, config: null, status: "unsupported" }]);
  assert.deepEqual([whole.counts.FAILED, whole.missing.after.length], [2, 0]);
  // It had no time before either.
  assert.deepEqual(compare([broken], [timed(100, 0.01)]).missing.before.length, 1);
  assert.equal(compare([broken], [broken]).rows.length, 0);
});

test("rows are matched by configuration, and a kernel that dispatch runs otherwise now by its point", () => {
  const row = (config: string, median: number) => ({ ...timed(median, 0.001), config });
  const swapped = compare([row("a", 100), row("b", 200)], [row("b", 200), row("a", 100)]);
  assert.deepEqual([swapped.counts.SAME, swapped.rows.length], [2, 2]);
  const [moved] = compare([row("a", 100)], [row("c", 90)]).rows;
  assert.deepEqual([moved?.config, moved?.verdict], [{ before: "a", after: "c" }, "FAST"]);
  const more = compare([row("a", 100)], [row("c", 90), row("d", 80)]);
  assert.deepEqual(
    [more.rows.length, more.missing.after.map(({ config }) => config), more.missing.before.length],
    [0, ["a"], 2],
  );
});

test("rows of one side alone are listed and are no regression", () => {
  const comparison = compare(
    [rowOf("fp16", { m: 1 }, 1), rowOf("fp16", { m: 2 }, 1)],
    [rowOf("fp16", { m: 1 }, 1), rowOf("fp16", { m: 4 }, 1), rowOf("fp8", { m: 1 }, 1)],
  );
  const points = (rows: Comparison["missing"]["after"]) => rows.map(({ kernel, m }) => `${kernel} ${m}`);
  assert.deepEqual(points(comparison.missing.after), ["fp16 2"]);
  assert.deepEqual(points(comparison.missing.before), ["fp16 4", "fp8 1"]);
  assert.equal(comparison.regression, false);
});

test("the geometric mean is that of each kernel's ratios", () => {
  const rows = (scale: number) => [
    rowOf("fp16", { m: 1 }, 100),
    rowOf("fp16", { m: 2 }, 100),
    rowOf("fp8", { m: 1 }, 100 * scale),
    rowOf("fp8", { m: 2 }, 100 * scale ** 3),
  ];
  const { geomean } = compare(rows(1), rows(2));
  assert.deepEqual([geomean.fp16, geomean.fp8?.toFixed(12)], [1, (4).toFixed(12)]);
});

test("different devices are refused unless allowed, other drivers are told, cold against warm is refused", () => {
  const rows = [timed(100, 0.01)];
  const other = resultOf(rows, { name: "H200", driver: "581", libraries: { cublaslt: "13.1", nvml: "1" } });
  assert.throws(() => compareResults(resultOf(rows), other, options), UsageError);
  const allowed = compareResults(resultOf(rows), other, { ...options, allowDifferentDevices: true });
  assert.deepEqual(allowed.devices, { before: "H100", after: "H200" });
  assert.deepEqual(allowed.changes, ["driver 580 -> 581", "nvml none -> 1"]);
  const plain = resultOf(rows);
  const fp32 = { ...plain, options: { ...plain.options, fp8_sums: "fp32" as const } };
  assert.deepEqual(compareResults(plain, fp32, options).changes, ["fp8_sums none -> fp32"]);
  assert.throws(() => compareResults(resultOf(rows), resultOf(rows, {}, false), options), {
    name: UsageError.name,
    message: /cold caches, the second with warm/,
  });
});
