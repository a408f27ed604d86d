import { Box, Text } from "ink";
import type { BenchRow } from "../bench/row.ts";
import { formatNumber, formatRate, formatSeconds, printable } from "../report/format.ts";

export type BenchScreenProps = {
  readonly device: string;
  readonly done: number;
  readonly points: number;
  readonly secondsLeft?: number | undefined;
  /** The point that is being measured. */
  readonly current?: string;
  /** The latest rows, oldest first. */
  readonly rows: readonly BenchRow[];
};

const barWidth = 24;
const rowBarWidth = 16;

/** The state of a benchmark: how far it is, and the latest rows with bars of their throughput. */
export function BenchScreen({ device, done, points, secondsLeft, current, rows }: BenchScreenProps) {
  const share = points === 0 ? 0 : done / points;
  const filled = Math.round(barWidth * share);
  const fastest = fastestByPoint(rows);
  return (
    <Box flexDirection="column">
      <Text>
        {device} <Text color="cyan">{"█".repeat(filled)}</Text>
        {"░".repeat(barWidth - filled)} {done} of {points} points
        {secondsLeft === undefined ? "" : ` | ETA ${formatSeconds(secondsLeft)}`}
      </Text>
      {current === undefined || done === points ? null : <Text dimColor>{current}</Text>}
      {rows.map((row, index) => (
        <Row
          key={`${pointOf(row)} ${row.kernel} ${row.config}`}
          row={row}
          fastest={fastest.get(pointOf(row)) ?? 0}
          opens={index === 0 || pointOf(rows[index - 1] ?? row) !== pointOf(row)}
        />
      ))}
    </Box>
  );
}

type RowProps = {
  readonly row: BenchRow;
  /** TFLOP/s of the fastest row of this point. */
  readonly fastest: number;
  /** The first of its point, which names it. */
  readonly opens: boolean;
};

function Row({ row, fastest, opens }: RowProps) {
  const point = opens ? `${row.n} x ${row.k}, M ${row.m}` : "";
  if (row.tflops === null || row.median_us === null) {
    return (
      <Text wrap="truncate">
        {point.padEnd(pointWidth)}
        {row.kernel.padEnd(kernelWidth)}
        <Text color="red">{row.status}</Text>
      </Text>
    );
  }
  const filled = Math.max(1, Math.round((rowBarWidth * row.tflops) / fastest));
  return (
    <Text wrap="truncate">
      {point.padEnd(pointWidth)}
      {row.kernel.padEnd(kernelWidth)}
      <Text color={colourOf(row)}>{"█".repeat(filled).padEnd(rowBarWidth)}</Text>
      {` ${formatRate(row.tflops)}`.padEnd(15)}
      {`${formatNumber(row.median_us)} us`.padStart(12)}
      <Text bold>{row.vs_fp16 === null ? "" : ` x ${row.vs_fp16.toFixed(3)}`}</Text>
      {row.throttled ? <Text color="yellow"> throttled</Text> : null}
      <Text dimColor> {printable(row.config ?? "")}</Text>
    </Text>
  );
}

const pointWidth = 22;
const kernelWidth = 12;

/** Slower than the baseline by more than a measurement's error is worth seeing. */
function colourOf({ kernel, vs_fp16 }: BenchRow): string {
  if (kernel === "fp16" || vs_fp16 === null) return "gray";
  return vs_fp16 < 0.98 ? "yellow" : "green";
}

function fastestByPoint(rows: readonly BenchRow[]): Map<string, number> {
  const fastest = new Map<string, number>();
  for (const row of rows)
    fastest.set(pointOf(row), Math.max(fastest.get(pointOf(row)) ?? 0, row.tflops ?? 0));
  return fastest;
}

function pointOf({ n, k, m }: BenchRow): string {
  return `${n}x${k} ${m}`;
}
