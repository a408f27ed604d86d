import assert from "node:assert/strict";
import { test } from "node:test";

import { type Metrics, MetricsAccumulator, quantile } from "../../src/eval/metrics.ts";
import { summariseWindow, type WindowSummary, type WindowValues } from "../../src/eval/window-summary.ts";
import type { Method } from "../../src/eval/windows.ts";
import { Prng } from "../safetensors/prng.ts";

type Window = { nll: number[]; against: { nll: number[]; kld: number[]; sameTop1: number[] } };

/** Windows of different lengths whose means differ, with values that float32 holds exactly. */
function randomWindows(seed: number, lengths: readonly number[]): Window[] {
  const random = new Prng(seed);
  const list = (n: number, value: () => number) => Array.from({ length: n }, value);
  return lengths.map((n, index) => {
    const reference = list(n, () => Math.fround(index + random.below(1 << 20) / (1 << 18)));
    return {
      nll: reference.map((nll) => Math.fround(nll + (random.below(2048) - 900) / 4096)),
      against: {
        nll: reference,
        kld: list(n, () => Math.fround(random.below(1 << 20) / (1 << 22))),
        sameTop1: list(n, () => (random.below(10) === 0 ? 0 : 1)),
      },
    };
  });
}

function metricsOf(windows: readonly WindowValues[], method: Method = "plain"): Metrics {
  const accumulator = new MetricsAccumulator(method);
  for (const [index, window] of windows.entries()) accumulator.add(summariseWindow(window, index));
  return accumulator.metrics();
}

/** Every definition as it is written, over all values at once. */
function directly(windows: readonly Window[]): Record<keyof Metrics, number> {
  const all = (pick: (window: Window) => number[]) => windows.flatMap(pick);
  const [x, reference] = [all((window) => window.nll), all((window) => window.against.nll)];
  const klds = all((window) => window.against.kld).sort((a, b) => a - b);
  const n = x.length;
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const covariance = (a: number[], b: number[]) =>
    a.reduce((sum, value, i) => sum + (value - mean(a)) * ((b[i] ?? 0) - mean(b)), 0) / (n - 1);
  const paired = covariance(x, x) + covariance(reference, reference) - 2 * covariance(x, reference);
  const same = mean(all((window) => window.against.sameTop1));
  const deltaP = x.map((nll, i) => (Math.exp(-nll) - Math.exp(-(reference[i] ?? 0))) ** 2);
  return {
    windows: windows.length,
    tokens: n,
    mean_nll: mean(x),
    ppl: Math.exp(mean(x)),
    ppl_stderr: (Math.sqrt(covariance(x, x)) / Math.sqrt(n)) * Math.exp(mean(x)),
    delta_ln_ppl: mean(x) - mean(reference),
    delta_ln_ppl_stderr: Math.sqrt(paired / n),
    ppl_ratio: Math.exp(mean(x)) / Math.exp(mean(reference)),
    kld_mean: mean(klds),
    kld_median: llamaPercentile(klds, 0.5),
    kld_p99: llamaPercentile(klds, 0.99),
    kld_p999: llamaPercentile(klds, 0.999),
    kld_max: Math.max(...klds),
    same_top1: same,
    same_top1_stderr: Math.sqrt((same * (1 - same)) / (n - 1)),
    rms_delta_p: Math.sqrt(mean(deltaP)),
  };
}

/** tools/perplexity/perplexity.cpp, `percentile`. */
function llamaPercentile(values: number[], fraction: number): number {
  let p = fraction * (values.length - 1);
  const ip = Math.trunc(p);
  p -= ip;
  return (1 - p) * (values[ip] ?? 0) + p * (values[Math.min(ip + 1, values.length - 1)] ?? 0);
}

function close(actual: Readonly<Record<string, unknown>>, expected: Readonly<Record<string, number>>): void {
  for (const [key, value] of Object.entries(expected)) {
    const off = Math.abs(Number(actual[key]) - value);
    assert.ok(off <= 1e-11 * Math.abs(value), `${key}: ${actual[key]} instead of ${value}`);
  }
}

for (const [seed, lengths] of [
  [1, [511, 511, 300, 2]],
  [2, [1, 1]],
  [3, [4000]],
] as const) {
  test(`windows of ${lengths.join(", ")} ids give what a direct computation gives`, () => {
    const windows = randomWindows(seed, lengths);
    const metrics = metricsOf(windows);
    const expected = directly(windows);
    assert.deepEqual(Object.keys(metrics).sort(), Object.keys(expected).sort());
    close(metrics, expected);
  });
}

test("numbers worked out by hand", () => {
  const against = { nll: [Math.log(4), Math.log(4)], kld: [0.5, 0.25], sameTop1: [1, 0] };
  const metrics = metricsOf([{ nll: [Math.log(2), Math.log(8)], against }]);
  close(metrics, {
    tokens: 2,
    ppl: 4,
    // sd of (ln 2, ln 8) is sqrt(2) ln 2
    ppl_stderr: 4 * Math.LN2,
    ppl_ratio: 1,
    delta_ln_ppl_stderr: Math.LN2,
    kld_mean: 0.375,
    kld_median: 0.375,
    kld_p99: 0.4975,
    kld_max: 0.5,
    same_top1: 0.5,
    same_top1_stderr: 0.5,
    // 1/2 - 1/4 and 1/8 - 1/4
    rms_delta_p: Math.sqrt((1 / 16 + 1 / 64) / 2),
  });
});

test("gptq averages windows, not ids", () => {
  const nll = [[1], [2, 4], [7, 8, 9]];
  const windows = nll.map((list) => ({
    nll: list,
    against: { nll: list.map((_, i) => i), kld: list, sameTop1: list },
  }));
  close(metricsOf(windows, "gptq"), { mean_nll: 4, ppl: Math.exp(4), delta_ln_ppl: 4 - 0.5 });
  close(metricsOf(windows, "plain"), { mean_nll: 31 / 6, delta_ln_ppl: (31 - 0 - 1 - 3) / 6 });
});

test("the reference has no comparison", () => {
  const metrics = metricsOf([{ nll: [1, 2] }, { nll: [3] }]);
  assert.deepEqual(Object.keys(metrics), ["windows", "tokens", "mean_nll", "ppl", "ppl_stderr"]);
  close(metrics, { windows: 2, tokens: 3, mean_nll: 2, ppl_stderr: Math.exp(2) / Math.sqrt(3) });
});

test("equal values differ by exactly nothing", () => {
  const [window] = randomWindows(4, [700]);
  assert.ok(window);
  const { nll } = window.against;
  const metrics = metricsOf([{ nll, against: { nll, kld: nll.map(() => 0), sameTop1: nll.map(() => 1) } }]);
  for (const key of [
    "delta_ln_ppl",
    "delta_ln_ppl_stderr",
    "kld_mean",
    "kld_p999",
    "kld_max",
    "rms_delta_p",
  ]) {
    assert.equal(metrics[key as keyof Metrics], 0, key);
  }
  assert.deepEqual([metrics.ppl_ratio, metrics.same_top1, metrics.same_top1_stderr], [1, 1, 0]);
});

test("one id has no error", () => {
  const metrics = metricsOf([{ nll: [2], against: { nll: [1], kld: [0.5], sameTop1: [1] } }]);
  const { ppl_stderr, delta_ln_ppl_stderr, same_top1_stderr, kld_p999 } = metrics;
  assert.deepEqual([ppl_stderr, delta_ln_ppl_stderr, same_top1_stderr, kld_p999], [null, null, null, 0.5]);
});

test("a run that is resumed from its summaries gives the same bits", () => {
  const windows = randomWindows(6, [50, 60, 70, 80]);
  const journal = windows.map((window, index) => JSON.stringify(summariseWindow(window, index)));
  const resumed = new MetricsAccumulator("plain");
  for (const line of journal) {
    const summary: WindowSummary = JSON.parse(line);
    resumed.add(summary);
  }
  assert.deepEqual(resumed.metrics(), metricsOf(windows));
});

test("the perplexity so far is that of the windows so far", () => {
  const windows = randomWindows(7, [20, 30]);
  const accumulator = new MetricsAccumulator("plain");
  for (const [index, window] of windows.entries()) {
    accumulator.add(summariseWindow(window, index));
    const { windows: seen, tokens, ppl } = directly(windows.slice(0, index + 1));
    close(accumulator.perplexity(), { windows: seen, tokens, ppl });
  }
});

for (const [name, values, problem] of [
  ["NaN", { nll: [1, Number.NaN] }, "the NLL of scored id 1 in window 3 is NaN"],
  ["infinity", { nll: [Number.POSITIVE_INFINITY] }, "the NLL of scored id 0 in window 3 is Infinity"],
  [
    "a reference of NaN",
    { nll: [1], against: { nll: [Number.NaN], kld: [0], sameTop1: [1] } },
    "the reference NLL of scored id 0 in window 3 is NaN",
  ],
  [
    "a divergence of infinity",
    { nll: [1], against: { nll: [1], kld: [Number.POSITIVE_INFINITY], sameTop1: [1] } },
    "the KL divergence of scored id 0 in window 3 is Infinity",
  ],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => summariseWindow(values, 3), { name: "FormatError", message: problem });
  });
}

test("lists of different lengths are a mistake of the caller", () => {
  const against = { nll: [1, 2], kld: [0], sameTop1: [1, 1] };
  assert.throws(() => summariseWindow({ nll: [1, 2], against }, 0), {
    name: "RangeError",
    message: "1 values for 2 scored ids",
  });
});

test("a quantile between two values is in proportion", () => {
  const places = [0, 0.25, 0.5, 0.99, 1].map((fraction) => quantile([1, 2, 4, 8], fraction));
  assert.deepEqual(places, [1, 1.75, 3, 4 + 4 * (0.99 * 3 - 2), 8]);
});
