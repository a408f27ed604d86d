import type { EvalResult } from "../eval/eval.ts";
import type { Column } from "./table.ts";
import { textTables } from "./table.ts";

type Row = EvalResult["precisions"][string] & { readonly precision: string };

/** One row per precision; comparisons are against fp16 on the same ids. */
export const evaluationColumns: readonly Column<Row>[] = [
  { title: "precision", value: (row) => row.precision },
  { title: "PPL", align: "right", value: (row) => row.ppl.toFixed(4) },
  { title: "+/-", align: "right", value: (row) => fixed(row.ppl_stderr, 4) },
  { title: "ratio", align: "right", value: (row) => fixed(row.ppl_ratio, 5) },
  { title: "dlnPPL", align: "right", value: (row) => signed(row.delta_ln_ppl) },
  { title: "+/-", align: "right", value: (row) => fixed(row.delta_ln_ppl_stderr, 6) },
  { title: "KLD mean", align: "right", value: (row) => fixed(row.kld_mean, 6) },
  { title: "KLD 99%", align: "right", value: (row) => fixed(row.kld_p99, 5) },
  { title: "KLD max", align: "right", value: (row) => fixed(row.kld_max, 4) },
  { title: "top-1", align: "right", value: (row) => percent(row.same_top1) },
  { title: "RMS dp", align: "right", value: (row) => percent(row.rms_delta_p) },
];

/** For programs: every metric under its name in the document, unrounded. */
export const evaluationCsvColumns: readonly Column<Row>[] = [
  { title: "precision", value: (row) => row.precision },
  ...(
    [
      "windows",
      "tokens",
      "mean_nll",
      "ppl",
      "ppl_stderr",
      "ppl_ratio",
      "delta_ln_ppl",
      "delta_ln_ppl_stderr",
      "kld_mean",
      "kld_median",
      "kld_p99",
      "kld_p999",
      "kld_max",
      "same_top1",
      "same_top1_stderr",
      "rms_delta_p",
    ] as const
  ).map((title) => ({ title, value: (row: Row) => String(row[title] ?? "") })),
];

export function evaluationRows(result: EvalResult): Row[] {
  return Object.entries(result.precisions).map(([precision, metrics]) => ({ precision, ...metrics }));
}

/**
 * The table, then one line per precision that ends as llama-perplexity's output does.
 *
 * @param width of the terminal; a table that is wider is told in parts
 */
export function evaluationReport(result: EvalResult, width = Number.POSITIVE_INFINITY): string {
  const rows = evaluationRows(result);
  const { method, ctx, windows, scored, activations } = result;
  const hasFp8 = rows.some(({ precision }) => precision === "nested-fp8" || precision === "fp8");
  const how = [
    `method ${method}, ctx ${ctx}, ${windows} window${windows === 1 ? "" : "s"}, ${scored} scored ids`,
    ...(hasFp8 ? [`FP8 activations: ${activations === "e4m3" ? "E4M3 per token" : "not quantised"}`] : []),
  ];
  const columns = evaluationColumns.filter(({ value }) => rows.some((row) => value(row) !== ""));
  const isShort = how.join("; ").length <= width;
  const estimates = rows.map(
    ({ precision, ppl, ppl_stderr }) =>
      `${precision}: Final estimate: PPL = ${ppl.toFixed(4)}${ppl_stderr === null ? "" : ` +/- ${ppl_stderr.toFixed(5)}`}`,
  );
  return [textTables(columns, rows, width), "", how.join(isShort ? "; " : "\n"), ...estimates].join("\n");
}

function fixed(value: number | null | undefined, digits: number): string {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

function signed(value: number | undefined): string {
  return value === undefined ? "" : `${value < 0 ? "" : "+"}${value.toFixed(6)}`;
}

function percent(share: number | undefined): string {
  return share === undefined ? "" : `${(100 * share).toFixed(3)} %`;
}
