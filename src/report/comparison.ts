import { type ComparedRow, type Comparison, fewestSamples, type MissingRow } from "../bench/compare.ts";
import { formatNumber, printable } from "./format.ts";
import type { Column } from "./table.ts";
import { markdownTable, textTable } from "./table.ts";

export const comparisonColumns: readonly Column<ComparedRow>[] = [
  { title: "verdict", value: ({ verdict }) => verdict },
  { title: "kernel", value: ({ kernel }) => printable(kernel) },
  { title: "N x K", value: ({ n, k }) => `${n} x ${k}` },
  { title: "M", align: "right", value: ({ m }) => String(m) },
  { title: "before us", align: "right", value: ({ before_us }) => formatNumber(before_us) },
  {
    title: "after us",
    align: "right",
    value: ({ after_us }) => (after_us === null ? "" : formatNumber(after_us)),
  },
  { title: "change", align: "right", value: ({ ratio }) => (ratio === null ? "" : change(ratio)) },
  { title: "interval", value: ({ ratio_interval }) => ratio_interval?.map(change).join(" to ") ?? "" },
  { title: "config", value: ({ config }) => configs(config) },
];

export function comparisonReport(comparison: Comparison): string {
  return written(comparison, textTable);
}

export function comparisonMarkdown(comparison: Comparison): string {
  return `${written(comparison, markdownTable)}\n`;
}

function written(
  comparison: Comparison,
  table: (columns: readonly Column<ComparedRow>[], rows: readonly ComparedRow[]) => string,
): string {
  const { rows, missing, counts, geomean, devices, changes, threshold } = comparison;
  const verdicts = Object.entries(counts).filter(([, count]) => count > 0);
  const means = Object.entries(geomean).map(([kernel, ratio]) => `${printable(kernel)} ${change(ratio)}`);
  const blocks = [
    rows.length > 0 ? [table(comparisonColumns, rows)] : ["No row is in both results."],
    [
      devices.before === devices.after
        ? printable(devices.before)
        : `${printable(devices.before)} -> ${printable(devices.after)}`,
      ...changes.map(printable),
    ],
    [...missingLines("before", missing.before), ...missingLines("after", missing.after)],
    comparison.unjudged > 0
      ? [
          `${comparison.unjudged} slower by more than the threshold, with too few samples to judge (fewer than ${fewestSamples}): measure again with more, or gate with --require-all`,
        ]
      : [],
    means.length > 0 ? [`Time on geometric mean: ${means.join(", ")}`] : [],
    [
      `${rows.length} rows at a threshold of ${(100 * threshold).toFixed(1)} %: ${verdicts.map(([verdict, count]) => `${count} ${verdict}`).join(", ") || "nothing to compare"}`,
    ],
  ];
  return blocks
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join("\n"))
    .join("\n\n");
}

function missingLines(side: "before" | "after", rows: readonly MissingRow[]): string[] {
  return rows.map(
    ({ kernel, config, n, k, m }) =>
      `not in ${side}: ${printable(kernel)} ${printable(config ?? "")} N ${n}, K ${k}, M ${m}`,
  );
}

/** Of a time: `+3.2 %` is slower. */
function change(ratio: number): string {
  const percent = 100 * (ratio - 1);
  return `${percent < 0 ? "" : "+"}${percent.toFixed(1)} %`;
}

function configs({ before, after }: ComparedRow["config"]): string {
  const [old, now] = [printable(before ?? "none"), printable(after ?? "none")];
  return old === now ? now : `${old} -> ${now}`;
}
