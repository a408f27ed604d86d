import type { BenchResult } from "../bench/result.ts";
import type { BenchRow } from "../bench/row.ts";
import { noiseOf } from "../bench/stats.ts";
import type { Ratios, Summary } from "../bench/summary.ts";
import { formatNumber, printable } from "./format.ts";
import type { Column } from "./table.ts";
import { markdownTable, textTable } from "./table.ts";

/** Rows for people; the config tells what ran, noise is the interquartile range over the median. */
const rowColumns: readonly Column<BenchRow>[] = [
  { title: "shape", value: (row) => printable(row.shape) },
  { title: "N x K", value: (row) => `${row.n} x ${row.k}` },
  { title: "M", align: "right", value: (row) => String(row.m) },
  { title: "kernel", value: (row) => row.kernel },
  { title: "config", value: (row) => printable(row.config ?? "") },
  { title: "us", align: "right", value: (row) => formatIfKnown(row.median_us) },
  { title: "noise", align: "right", value: noise },
  { title: "TFLOP/s", align: "right", value: (row) => formatIfKnown(row.tflops) },
  { title: "GB/s", align: "right", value: (row) => formatIfKnown(row.gb_s) },
  { title: "vs fp16", align: "right", value: (row) => row.vs_fp16?.toFixed(3) ?? "" },
  { title: "status", value: status },
];

/** One value of the JSON row a column, for spreadsheets and data frames. */
export const benchCsvColumns: readonly Column<BenchRow>[] = [
  { title: "kernel", value: (row) => row.kernel },
  { title: "config", value: (row) => row.config ?? "" },
  { title: "shape", value: (row) => row.shape },
  ...numbers(["m", "n", "k", "median_us", "q1_us", "q3_us", "samples", "quantise_us"]),
  ...numbers(["median_with_quantise_us", "tflops", "gb_s", "vs_fp16"]),
  { title: "check_ok", value: (row) => (row.check === null ? "" : String(row.check.ok)) },
  { title: "check_rel_err", value: (row) => String(row.check?.rel_err ?? "") },
  { title: "check_bitwise", value: (row) => String(row.check?.bitwise ?? "") },
  { title: "status", value: (row) => row.status },
  ...numbers(["sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c"]),
  { title: "throttled", value: (row) => String(row.throttled) },
  {
    title: "throttle_reasons",
    value: (row) =>
      Object.entries(row.throttle_reasons)
        .map(([reason, count]) => `${reason}:${count}`)
        .join(" "),
  },
  ...numbers(["discarded"]),
  { title: "details", value: ({ details = "" }) => details },
];

/** A band, or one M, of a comparison with a baseline. */
type SummaryRow = { readonly summary: Summary; readonly where: string; readonly ratios: Ratios };

const summaryColumns: readonly Column<SummaryRow>[] = [
  { title: "kernel", value: ({ summary }) => nameOf(summary) },
  { title: "against", value: ({ summary }) => summary.baseline },
  { title: "M", value: ({ where }) => where },
  { title: "points", align: "right", value: ({ ratios }) => String(ratios.points) },
  { title: "geomean", align: "right", value: ({ ratios }) => ratios.geomean.toFixed(3) },
  { title: "worst", align: "right", value: ({ ratios }) => ratios.worst.ratio.toFixed(3) },
  { title: "best", align: "right", value: ({ ratios }) => ratios.best.ratio.toFixed(3) },
  {
    title: "worst at",
    value: ({ ratios: { worst } }) => `${worst.n} x ${worst.k}, M ${worst.m} (${printable(worst.shape)})`,
  },
];

export function benchReport(result: BenchResult): string {
  return [
    textTable(rowColumns, result.rows),
    "",
    ...summaryText(result, textTable),
    conditions(result),
    ...warnings(result),
  ].join("\n");
}

export function benchMarkdown(result: BenchResult): string {
  return [
    conditions(result),
    "",
    ...summaryText(result, markdownTable),
    markdownTable(rowColumns, result.rows),
    "",
    ...warnings(result),
  ].join("\n");
}

/** "NVIDIA H100 80GB HBM3, driver ..., cublaslt 13.1.0; cold caches; SM clock 1395 to 1980 MHz; 2026-11-22". */
export function conditions({ device, options, started, rows }: BenchResult): string {
  const clocks = rows.flatMap(({ sm_clock_mhz }) => (sm_clock_mhz === null ? [] : [sm_clock_mhz]));
  const [lowest, highest] = [Math.min(...clocks), Math.max(...clocks)].map(Math.round);
  const range = lowest === highest ? `${lowest} MHz` : `${lowest} to ${highest} MHz`;
  return [
    [
      device.name,
      ...(device.driver === null ? [] : [`driver ${device.driver}`]),
      ...Object.entries(device.libraries).map(([name, version]) => `${name} ${version}`),
    ].join(", "),
    options.cold ? "weights cold" : "weights warm in the caches",
    ...(clocks.length > 0 ? [`SM clock ${range}`] : []),
    started.slice(0, 10),
  ].join("; ");
}

function summaryText(
  { summary, rows }: BenchResult,
  table: (columns: readonly Column<SummaryRow>[], rows: readonly SummaryRow[]) => string,
): string[] {
  if (summary.length === 0) return [];
  const bands = summary.flatMap((one) =>
    Object.entries(one.bands).map(([where, ratios]) => ({ summary: one, where, ratios })),
  );
  const several = new Set(rows.map(({ m }) => m)).size > 1;
  const perM = summary.flatMap((one) =>
    one.per_m.map((ratios) => ({ summary: one, where: String(ratios.m), ratios })),
  );
  const caption = "Time of the baseline / time of the kernel: above 1 is faster.";
  return [
    caption,
    "",
    table(summaryColumns, bands),
    "",
    ...(several ? [table(summaryColumns, perM), ""] : []),
  ];
}

function nameOf({ kernel, config, with_quantise }: Summary): string {
  const name = config === null ? kernel : `${kernel} ${printable(config)}`;
  return with_quantise ? `${name} + quantiser` : name;
}

function warnings({ rows }: BenchResult): string[] {
  const count = (has: (row: BenchRow) => boolean): number => rows.filter(has).length;
  const notes: [number, string][] = [
    [count(({ status }) => status === "incorrect"), "gave wrong results and were not timed"],
    [count(({ status }) => status === "error"), "failed"],
    [count(({ status }) => status === "unsupported"), "are not supported by this device"],
    [
      count(({ stopped_by }) => stopped_by === "timeout"),
      "ran out of time before their noise was low enough",
    ],
    [count(({ throttled }) => throttled), "have samples taken while the device was throttled"],
    [count(({ discarded }) => discarded > 0), "had samples thrown away: the hardware slowed down"],
  ];
  return notes.filter(([rows]) => rows > 0).map(([rows, what]) => `Note: ${rows} of the rows ${what}`);
}

function formatIfKnown(value: number | null): string {
  return value === null ? "" : formatNumber(value);
}

/** Of fewer samples it says nothing. */
const fewestForNoise = 5;

function noise({ median_us, q1_us, q3_us, samples }: BenchRow): string {
  if (samples < fewestForNoise || median_us === null || q1_us === null || q3_us === null) return "";
  return `${(100 * noiseOf({ median: median_us, q1: q1_us, q3: q3_us })).toFixed(1)} %`;
}

function status(row: BenchRow): string {
  if (row.status === "incorrect") return `incorrect (error ${row.check?.rel_err?.toExponential(1) ?? "NaN"})`;
  if (row.status === "error") return `error: ${printable(row.error ?? "")}`;
  if (row.status === "unsupported") return "unsupported";
  const marks = [
    row.check?.bitwise ? "bitwise" : "",
    row.throttled ? Object.keys(row.throttle_reasons).join(" ") : "",
  ];
  return ["ok", ...marks].filter((mark) => mark !== "").join(", ");
}

type NumberKey = {
  [Key in keyof BenchRow]-?: NonNullable<BenchRow[Key]> extends number ? Key : never;
}[keyof BenchRow];

function numbers(keys: readonly NumberKey[]): Column<BenchRow>[] {
  return keys.map((key) => ({ title: key, align: "right", value: (row) => String(row[key] ?? "") }));
}
