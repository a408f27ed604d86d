import assert from "node:assert/strict";
import { test } from "node:test";
import { geometricMean, medianOf, noiseOf, quantile, quartilesOf } from "../../src/bench/stats.ts";

// R: quantile(x, c(.25, .5, .75)), type 7.
const cases: readonly [readonly number[], number, number, number][] = [
  [[5], 5, 5, 5],
  [[2, 1], 1.25, 1.5, 1.75],
  [[3, 1, 2], 1.5, 2, 2.5],
  [[4, 1, 3, 2], 1.75, 2.5, 3.25],
  [[10, 1, 100, 2, 7], 2, 7, 10],
  [[1, 2, 3, 4, 5, 6, 7, 8], 2.75, 4.5, 6.25],
];

for (const [samples, q1, median, q3] of cases) {
  test(`quartiles of ${samples}`, () => {
    const before = [...samples];
    assert.deepEqual(quartilesOf(samples), { q1, median, q3 });
    assert.equal(medianOf(samples), median);
    assert.deepEqual(samples, before);
  });
}

test("quantiles at both ends are the extremes", () => {
  assert.deepEqual([quantile([1, 4, 9], 0), quantile([1, 4, 9], 1)], [1, 9]);
});

test("noise is the interquartile range over the median", () => {
  assert.equal(noiseOf({ q1: 9, median: 10, q3: 12 }), 0.3);
  // One sample far out moves the mean and not the noise.
  assert.equal(noiseOf(quartilesOf([10, 10, 10, 10, 10_000])), 0);
});

test("geometric mean", () => {
  assert.equal(geometricMean([2, 8]), 4);
  assert.ok(Math.abs(geometricMean([0.5, 2, 1]) - 1) < 1e-15);
});
