import assert from "node:assert/strict";
import { test } from "node:test";
import type { BenchResult } from "../../src/bench/result.ts";
import type { BenchRow } from "../../src/bench/row.ts";
import { summarise } from "../../src/bench/summary.ts";
import { benchCsvColumns, benchMarkdown, benchReport } from "../../src/report/benchmark.ts";
import { benchPlot } from "../../src/report/benchmark-plot.ts";
import { csvTable } from "../../src/report/table.ts";
import { fakeRun, rowOf } from "../bench/rows.ts";

function resultOf(rows: readonly BenchRow[]): BenchResult {
  return { ...fakeRun, rows, summary: summarise(rows) };
}

const rows: BenchRow[] = [
  rowOf("fp16", { m: 1 }, 100, { sm_clock_mhz: 1980, vs_fp16: 1, config: "cublaslt" }),
  rowOf("nested-fp16", { m: 1 }, 80, {
    q1_us: 78,
    q3_us: 82,
    sm_clock_mhz: 1395.4,
    vs_fp16: 1.25,
    tflops: 512.34,
    check: { ok: true, rel_err: 0.001, bitwise: true },
    throttled: true,
    throttle_reasons: { sw_power_cap: 3 },
    discarded: 2,
    stopped_by: "timeout",
  }),
  {
    ...rowOf("nested-fp8", { m: 1 }, 1),
    median_us: null,
    status: "incorrect",
    check: { ok: false, rel_err: 0.25 },
  },
  { ...rowOf("fp8", { m: 1 }, 1), median_us: null, status: "error", error: "no\u001b[2J memory" },
  rowOf("fp16", { m: 16 }, 200, { config: "cublaslt" }),
  rowOf("nested-fp16", { m: 16 }, 100),
];

test("the report has a line per row, the summary, the conditions and notes", () => {
  const report = benchReport(resultOf(rows));
  assert.match(
    report,
    /^64x32 +64 x 32 +1 +nested-fp16 +nested-fp16 +80\.00 +5\.0 % +512\.3 +1\.250 +ok, bitwise, sw_power_cap$/m,
  );
  assert.match(report, /nested-fp8 .* incorrect \(error 2\.5e-1\)$/m);
  assert.match(report, /fp8 .* error: no\\u001b\[2J memory$/m);
  assert.match(report, /^nested-fp16 +fp16 +<=64 +2 +1\.581 +1\.250 +2\.000 +64 x 32, M 1 \(64x32\)$/m);
  assert.match(report, /^nested-fp16 +fp16 +16 +1 +2\.000/m);
  assert.match(
    report,
    /^Fake <GPU>, driver 580, cublaslt 13\.1; weights cold; SM clock 1395 to 1980 MHz; 2026-11-22$/m,
  );
  for (const note of [
    "1 of the rows gave wrong results and were not timed",
    "1 of the rows failed",
    "1 of the rows ran out of time before their noise was low enough",
    "1 of the rows have samples taken while the device was throttled",
    "1 of the rows had samples thrown away: the hardware slowed down",
  ])
    assert.ok(report.includes(`Note: ${note}`), note);
});

test("of fewer than five samples no noise is told", () => {
  const few = rowOf("fp16", {}, 100, { samples: 4, q1_us: 90, q3_us: 110 });
  assert.doesNotMatch(benchReport(resultOf([few])), /20\.0 %/);
  assert.match(benchReport(resultOf([{ ...few, samples: 5 }])), / 20\.0 % /);
});

test("Markdown has the same tables", () => {
  const markdown = benchMarkdown(resultOf(rows));
  assert.match(markdown, /^Fake <GPU>, driver 580/);
  assert.match(markdown, /^\| nested-fp16 \| fp16 \| <=64 \| 2 \| 1\.581 \|/m);
  assert.match(markdown, /^\| 64x32 \| 64 x 32 \| 1 \| fp16 \| cublaslt \| 100\.0 \|/m);
});

test("CSV has a column for every value of a row, in full precision", () => {
  const [header = "", , nested = ""] = csvTable(benchCsvColumns, rows).split("\r\n");
  const cells = nested.split(",");
  const value = (title: string) => cells[header.split(",").indexOf(title)];
  assert.deepEqual(
    "kernel m median_us q1_us samples tflops gb_s vs_fp16 check_ok check_bitwise status sm_clock_mhz power_w throttled throttle_reasons discarded quantise_us"
      .split(" ")
      .map(value),
    [
      ..."nested-fp16 1 80 78 20 512.34".split(" "),
      "",
      ..."1.25 true true ok 1395.4".split(" "),
      "",
      "true",
      "sw_power_cap:3",
      "2",
      "",
    ],
  );
});

test("a result without a comparison has no summary", () => {
  const report = benchReport(resultOf([rowOf("fp8", {}, 100)]));
  assert.doesNotMatch(report, /geomean|Note/);
});

/** The numbers of an attribute of the elements of a class. */
function points(svg: string, name: string): number[][] {
  const found = new RegExp(`class="${name}" points="([^"]*)"`).exec(svg)?.[1];
  assert.ok(found, `${name} is not drawn`);
  return found.split(" ").map((pair) => pair.split(",").map(Number));
}

test("the plot has a line at the geometric means and a band from the worst to the best shape", () => {
  const two = [64, 128].flatMap((n) =>
    [1, 4, 16].flatMap((m) => [
      rowOf("fp16", { n, m }, 100, { config: "cublaslt" }),
      rowOf("nested-fp16", { n, m }, n === 64 ? 50 : 100),
    ]),
  );
  const svg = benchPlot(resultOf(two));
  const line = points(svg, "line nested-fp16");
  const band = points(svg, "band fill nested-fp16");
  assert.equal(line.length, 3);
  // Equal steps of the logarithm of M are equal steps across.
  const [a, b, c] = line.map(([x]) => x ?? Number.NaN);
  assert.ok(Math.abs((b ?? 0) - (a ?? 0) - ((c ?? 0) - (b ?? 0))) < 0.2);
  const [upper, mean, lower] = [band[0]?.[1], line[0]?.[1], band.at(-1)?.[1]].map(Number);
  const share = ((lower ?? 0) - (mean ?? 0)) / ((lower ?? 0) - (upper ?? 0));
  assert.ok(Math.abs(share - (Math.SQRT2 - 1)) < 0.01, `the mean lies at ${share} between 1 and 2`);
  assert.match(svg, />1\.41x over all points</);
  assert.match(svg, /Linear layers: times as fast as FP16 \(cublaslt\)/);
  assert.match(svg, /geometric mean of 2 weight shapes/);
});

test("the plot is well-formed whatever the device is called, and has both schemes", () => {
  const svg = benchPlot(resultOf(rows));
  assert.ok(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"'));
  assert.ok(svg.endsWith("</svg>\n"));
  assert.ok(svg.includes("Fake &#60;GPU&#62;"));
  assert.doesNotMatch(svg, /NaN|Infinity|undefined|<GPU>/);
  assert.match(svg, /prefers-color-scheme:dark/);
  const open = svg.match(/<[a-z]+[^>]*[^/]>/g)?.length;
  assert.equal(open, svg.match(/<\/[a-z]+>/g)?.length);
});

test("one M alone, and nothing beside fp16, still give a drawing", () => {
  for (const only of [rows.slice(0, 2), rows.slice(0, 1), []]) {
    const svg = benchPlot(resultOf(only));
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
    assert.match(svg, only.length > 1 ? /class="line nested-fp16"/ : /no kernel was timed beside fp16/);
  }
});
