import assert from "node:assert/strict";
import { test } from "node:test";
import { summarise } from "../../src/bench/summary.ts";
import { rowOf } from "./rows.ts";

test("geometric means and worst points by band of M and by M", () => {
  const ms = [1, 64, 65, 128, 1024, 1025, 2048];
  const ratios = [2, 8, 100, 1, 4, 100, 3];
  const rows = ms.flatMap((m, i) => [
    rowOf("fp16", { m }, 100 * (ratios[i] ?? 0)),
    rowOf("nested-fp16", { m }, 100),
  ]);
  const [summary, ...more] = summarise(rows);
  assert.equal(more.length, 0);
  const bands = Object.entries(summary?.bands ?? {}).map(([name, { points, geomean, worst }]) => [
    name,
    points,
    Math.round(1e9 * geomean) / 1e9,
    worst.m,
  ]);
  const all = ratios.reduce((product, ratio) => product * ratio, 1) ** (1 / 7);
  assert.deepEqual(bands, [
    ["<=64", 2, 4, 1],
    ["128..1024", 2, 2, 128],
    [">=2048", 1, 3, 2048],
    ["all", 7, Math.round(1e9 * all) / 1e9, 128],
  ]);
  assert.deepEqual(
    summary?.per_m.map(({ m, worst }) => [m, worst.ratio]),
    ms.map((m, i) => [m, ratios[i]]),
  );
  assert.deepEqual(summary?.bands.all?.worst, {
    ratio: 1,
    shape: "64x32",
    m: 128,
    n: 64,
    k: 32,
    config: "nested-fp16",
  });
});

test("each side is its fastest configuration at a point", () => {
  const rows = [
    rowOf("fp16", {}, 90, { config: "slow" }),
    rowOf("fp16", {}, 60, { config: "fast" }),
    rowOf("nested-fp16", {}, 40, { config: "x" }),
    rowOf("nested-fp16", {}, 30, { config: "y" }),
  ];
  const [first] = summarise(rows);
  assert.deepEqual(
    [first?.kernel, first?.config, first?.bands.all?.geomean, first?.bands.all?.worst.config],
    ["nested-fp16", null, 2, "y"],
  );
});

test("fp8's two scalings are also summarised apart, and nested-fp8 meets the better of them at each point", () => {
  const rows = [1, 2].flatMap((m) => [
    rowOf("fp16", { m }, 200),
    rowOf("nested-fp8", { m }, 100, { config: `dispatched_${m}`, median_with_quantise_us: 110 }),
    rowOf("fp8", { m }, m === 1 ? 80 : 120, { config: "cublaslt", median_with_quantise_us: 125 }),
    rowOf("fp8", { m }, m === 1 ? 120 : 90, { config: "cublaslt_rowwise", median_with_quantise_us: 132 }),
  ]);
  const found = summarise(rows.map((row) => (row.kernel === "fp16" ? row : { ...row, quantise_us: 10 }))).map(
    ({ kernel, config, baseline, with_quantise, bands }) => [
      [kernel, config, baseline, with_quantise].join(),
      bands.all?.geomean.toFixed(4),
    ],
  );
  assert.deepEqual(Object.fromEntries(found), {
    "nested-fp8,,fp16,false": "2.0000",
    "nested-fp8,,fp16,true": (200 / 110).toFixed(4),
    "nested-fp8,,fp8,false": Math.sqrt(0.8 * 0.9).toFixed(4),
    "nested-fp8,,fp8,true": (125 / 110).toFixed(4),
    "fp8,,fp16,false": Math.sqrt((200 / 80) * (200 / 90)).toFixed(4),
    "fp8,,fp16,true": (200 / 125).toFixed(4),
    "fp8,cublaslt,fp16,false": Math.sqrt((200 / 80) * (200 / 120)).toFixed(4),
    "fp8,cublaslt_rowwise,fp16,false": Math.sqrt((200 / 120) * (200 / 90)).toFixed(4),
  });
});

test("points that lack a side are left out, and nothing is summarised without fp16", () => {
  const rows = [
    rowOf("fp16", { m: 1 }, 100),
    rowOf("nested-fp16", { m: 1 }, 50),
    rowOf("nested-fp16", { m: 2 }, 1),
    { ...rowOf("fp16", { m: 2 }, 1), median_us: null },
  ];
  assert.deepEqual(
    summarise(rows).map(({ bands }) => [bands.all?.points, bands.all?.geomean]),
    [[1, 2]],
  );
  assert.deepEqual(summarise([rowOf("nested-fp16", {}, 1), rowOf("fp8", {}, 1)]), []);
});
