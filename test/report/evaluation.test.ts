import assert from "node:assert/strict";
import { test } from "node:test";
import type { EvalResult } from "../../src/eval/eval.ts";
import { evaluationCsvColumns, evaluationReport, evaluationRows } from "../../src/report/evaluation.ts";
import { csvTable } from "../../src/report/table.ts";

const base = { windows: 811, tokens: 413953, mean_nll: 3, ppl: 20.39866, ppl_stderr: 0.25 };
const compared = {
  delta_ln_ppl: -0.0001,
  delta_ln_ppl_stderr: 0.00005,
  ppl_ratio: 0.9999,
  kld_mean: 0.00123,
  kld_median: 0.001,
  kld_p99: 0.01,
  kld_p999: 0.1,
  kld_max: 1,
  same_top1: 0.95,
  same_top1_stderr: 0.001,
  rms_delta_p: 0.015,
};
const result: EvalResult = {
  method: "plain",
  ctx: 512,
  windows: 811,
  scored: 413953,
  text_sha256: "",
  activations: "e4m3",
  rope_frequencies: "fp32",
  precisions: { fp16: base, "nested-fp8": { ...base, ...compared } },
};

test("what a single precision does not have is not in its table", () => {
  const alone = { ...result, windows: 1, precisions: { fp16: { ...base, ppl_stderr: null } } };
  assert.equal(
    evaluationReport(alone),
    [
      "precision      PPL",
      "fp16       20.3987",
      "",
      "method plain, ctx 512, 1 window, 413953 scored ids",
      "fp16: Final estimate: PPL = 20.3987",
    ].join("\n"),
  );
});

test("CSV has every metric of the document under its name, unrounded", () => {
  const [head = "", , nested = ""] = csvTable(evaluationCsvColumns, evaluationRows(result)).split("\r\n");
  const titles = head.split(",");
  assert.equal(new Set(titles).size, titles.length);
  const cells = Object.fromEntries(nested.split(",").map((cell, at) => [titles[at], cell]));
  const { precision, ...metrics } = cells;
  assert.equal(precision, "nested-fp8");
  const numbers = Object.fromEntries(Object.entries(metrics).map(([key, cell]) => [key, Number(cell)]));
  assert.deepEqual(numbers, { ...base, ...compared });
});

test("one table where there is room, lines of 80 characters where there is not, the same numbers in both", () => {
  const wide = evaluationReport(result).split("\n");
  const narrow = evaluationReport(result, 80).split("\n");
  assert.ok(Math.max(...wide.map((line) => line.length)) > 80);
  assert.ok(Math.max(...narrow.map((line) => line.length)) <= 80);
  assert.equal(wide.filter((line) => line.startsWith("nested-fp8  ")).length, 1);
  const words = (lines: readonly string[]): Set<string> => new Set(lines.join(" ").split(/[\s;]+/));
  assert.deepEqual(words(narrow), words(wide));
  assert.equal(narrow.at(-1), "nested-fp8: Final estimate: PPL = 20.3987 +/- 0.25000");
});
