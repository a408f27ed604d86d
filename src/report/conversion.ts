import type { ConvertResult } from "../convert/convert.ts";
import type { DryRunResult } from "../convert/dry-run.ts";
import type { ExportResult } from "../convert/export.ts";
import type { InspectedTensor, InspectResult } from "../convert/inspect.ts";
import type { RestoreResult } from "../convert/restore.ts";
import type { VerifyResult } from "../convert/verify.ts";
import { formatBytes, formatSeconds, formatShare, printable } from "./format.ts";
import type { Column } from "./table.ts";
import { textTable } from "./table.ts";

type Decided = Pick<ConvertResult, "split" | "kept" | "coverage" | "reasons">;

function decisions({ split, kept, coverage, reasons }: Decided): string[] {
  const why = Object.entries(reasons).map(([reason, count]) => `${reason} ${count}`);
  return [
    `split     ${split} tensors (coverage ${formatShare(coverage)} of the words that could be)`,
    `kept      ${kept} tensors${why.length > 0 ? `: ${why.join(", ")}` : ""}`,
  ];
}

function sizes({ source, upper, lower }: ConvertResult["bytes"]): string[] {
  const share = (bytes: number): string => formatShare(source === 0 ? 0 : bytes / source);
  return [
    `source    ${formatBytes(source)}`,
    `FP8 view  ${formatBytes(upper)} (${share(upper)} of the source)`,
    `lower     ${formatBytes(lower)}; both ${formatBytes(upper + lower)} (${share(upper + lower)})`,
  ];
}

export function convertReport(result: ConvertResult): string {
  const checks = {
    none: "not verified",
    quick: "was finished before: the source is the same, the directory passes verify --quick",
    full: "verified: sha256 of what was written, every source word rebuilt",
  };
  return [
    `${printable(result.output)}: converted in ${formatSeconds(result.seconds)}`,
    ...decisions(result),
    ...sizes(result.bytes),
    `restore   ${result.restorable ? "gives the source back byte for byte" : "not possible: words were dropped as asked"}`,
    ...omissions(result.omitted),
    checks[result.verify.mode],
  ].join("\n");
}

const mostOmissions = 8;

function omissions(omitted: ConvertResult["omitted"]): string[] {
  const more = omitted.length - mostOmissions;
  return [
    ...omitted
      .slice(0, mostOmissions)
      .map(({ path, reason }) => `not copied: ${printable(path)} (${printable(reason)})`),
    ...(more > 0 ? [`not copied: ${more} more`] : []),
  ];
}

/** What was decided of a tensor, and by which numbers. */
const decisionColumns: readonly Column<DryRunResult["tensors"][number] | InspectedTensor>[] = [
  { title: "tensor", value: (row) => printable(row.name) },
  { title: "dtype", value: (row) => row.dtype },
  { title: "shape", value: (row) => row.shape.join(" x ") },
  { title: "max |w|", align: "right", value: (row) => maximum(row.max_abs) },
  { title: "action", value: (row) => row.action },
  { title: "reason", value: (row) => row.reason ?? "" },
  {
    title: "shift",
    align: "right",
    value: (row) => (row.action === "nest" ? String(row.row_shift_max ?? "") : ""),
  },
];

const plannedColumns: readonly Column<DryRunResult["tensors"][number]>[] = [
  ...decisionColumns,
  {
    title: "patches",
    align: "right",
    value: (row) => (row.action === "nest" ? String(row.patches ?? "") : ""),
  },
];

export function dryRunReport(result: DryRunResult): string {
  const { upper, lower } = result.bytes;
  const free = result.free_disk === null ? "unknown" : formatBytes(result.free_disk);
  return [
    textTable(plannedColumns, result.tensors),
    "",
    ...decisions(result),
    ...sizes(result.bytes),
    `restore   ${result.restorable ? "would give the source back byte for byte" : "would not be possible"}`,
    `memory    at most about ${formatBytes(result.peak_memory)}`,
    `disk      ${formatBytes(upper + lower)} needed, ${free} free`,
    ...peakDisk(result),
    ...(result.decided_by === "headers" ? ["weights   not read: values may keep more tensors whole"] : []),
    "nothing was written",
  ].join("\n");
}

function peakDisk({ peak_disk }: DryRunResult): string[] {
  if (peak_disk === null) return [];
  const { output, source, rewrite, cache, total } = peak_disk;
  const parts = [`output ${formatBytes(output)}`];
  if (source > 0) parts.push(`one source shard ${formatBytes(source)}`);
  if (rewrite > 0) parts.push(`one output shard ${formatBytes(rewrite)}`);
  if (cache > 0) parts.push(`the source in the cache ${formatBytes(cache)}`);
  return [`peak      ${formatBytes(total)}: ${parts.join(", ")}`];
}

export const inspectColumns: readonly Column<InspectedTensor>[] = [
  ...decisionColumns,
  { title: "SQNR dB", align: "right", value: sqnr },
];

function maximum(value: number | null): string {
  return value === null ? "" : value.toPrecision(4);
}

function sqnr(row: InspectedTensor): string {
  if (row.action === "keep") return "";
  return row.sqnr_db === null ? "exact" : row.sqnr_db.toFixed(2);
}

const headerColumns = inspectColumns.filter(({ title }) => title !== "SQNR dB");

export function inspectReport(result: InspectResult): string {
  const { converted, headers_only } = result;
  const kind = converted ? "a nestedfp directory" : "a source checkpoint, as convert would decide";
  const basis = headers_only
    ? `, by its ${converted ? "manifest" : "headers, before it has seen the weights"}`
    : "";
  return [
    textTable(headers_only ? headerColumns : inspectColumns, result.tensors),
    "",
    `${printable(result.source)}: ${kind}${basis}`,
    ...decisions(result),
    `bytes     ${formatBytes(result.bytes.split)} split, ${formatBytes(result.bytes.kept)} kept`,
  ].join("\n");
}

export function verifyReport(path: string, result: VerifyResult): string {
  if (result.ok) return `${printable(path)}: ok (${result.level})`;
  const lines = result.problems.map(({ file, tensor, range, kind, message }) => {
    const where = [printable(file), tensor && printable(tensor), range && `bytes ${range[0]}-${range[1]}`];
    return `${where.filter(Boolean).join(": ")}: ${printable(message)} [${kind}]`;
  });
  return [...lines, `${printable(path)}: ${result.problems.length} problems (${result.level})`].join("\n");
}

export function restoreReport(result: RestoreResult): string {
  const bytes = result.files.reduce((sum, file) => sum + file.size, 0);
  return [
    ...result.files.map((file) => `${file.sha256}  ${printable(file.path)}`),
    ...result.omitted.map(
      ({ path, reason }) => `not in the conversion: ${printable(path)} (${printable(reason)})`,
    ),
    `${printable(result.output)}: ${result.files.length} files, ${formatBytes(bytes)}, each with the sha256 of the source (${formatSeconds(result.seconds)})`,
  ].join("\n");
}

export function exportReport(result: ExportResult): string {
  const bytes = result.files.reduce((sum, file) => sum + file.size, 0);
  return `${printable(result.output)}: ${result.to}, ${result.files.length} files, ${formatBytes(bytes)} (${formatSeconds(result.seconds)})`;
}
