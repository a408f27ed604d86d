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
  /** Of the terminal; no line is wrapped. */
  readonly columns: number;
};

const barWidth = 24;

/** The state of a benchmark: how far it is, and the latest rows with bars of their throughput. */
export function BenchScreen({ device, done, points, secondsLeft, current, rows, columns }: BenchScreenProps) {
  const width = Math.max(1, columns - 1);
  const share = points === 0 ? 0 : done / points;
  const filled = Math.round(barWidth * share);
  const fastest = fastestByPoint(rows);
  const layout = rowLayout(width);
  return (
    <Box flexDirection="column" width={width}>
      <Text wrap="truncate">{device}</Text>
      <Text wrap="truncate">
        {done} of {points} points
        {secondsLeft === undefined ? "" : ` | ETA ${formatSeconds(secondsLeft)}`}{" "}
        <Text color="cyan">{"█".repeat(filled)}</Text>
        {"░".repeat(barWidth - filled)}
      </Text>
      {current === undefined || done === points ? null : (
        <Text dimColor wrap="truncate">
          {current}
        </Text>
      )}
      {rows.map((row, index) => (
        <Row
          key={`${pointOf(row)} ${row.kernel} ${row.config}`}
          row={row}
          fastest={fastest.get(pointOf(row)) ?? 0}
          opens={index === 0 || pointOf(rows[index - 1] ?? row) !== pointOf(row)}
          layout={layout}
        />
      ))}
    </Box>
  );
}

const pointWidth = 22;
const kernelWidth = 12;
const rateWidth = 15;
const timeWidth = 12;
const ratioWidth = 9;
const widestBar = 16;
const narrowestBar = 4;

type RowLayout = {
  /** The point has a line of its own above its rows. */
  readonly pointAbove: boolean;
  readonly bar: number;
  readonly rate: boolean;
};

/** Time and ratio always have room; a narrow terminal first shortens the bar, then loses the rate. */
function rowLayout(width: number): RowLayout {
  const room = width - kernelWidth - timeWidth - ratioWidth;
  const pointAbove = room < pointWidth;
  const left = pointAbove ? room : room - pointWidth;
  const rate = left >= rateWidth + narrowestBar;
  const bar = Math.min(widestBar, left - (rate ? rateWidth : 0));
  return { pointAbove, bar: bar < narrowestBar ? 0 : bar, rate };
}

type RowProps = {
  readonly row: BenchRow;
  /** TFLOP/s of the fastest row of this point. */
  readonly fastest: number;
  /** The first of its point, which names it. */
  readonly opens: boolean;
  readonly layout: RowLayout;
};

function Row({ row, fastest, opens, layout }: RowProps) {
  const point = opens ? `${row.n} x ${row.k}, M ${row.m}` : "";
  return (
    <Box flexDirection="column">
      {layout.pointAbove && opens ? <Text wrap="truncate">{point}</Text> : null}
      <Text wrap="truncate">
        {layout.pointAbove ? "" : point.padEnd(pointWidth)}
        {row.kernel.padEnd(kernelWidth)}
        <Speed row={row} fastest={fastest} layout={layout} />
      </Text>
    </Box>
  );
}

function Speed({ row, fastest, layout: { bar, rate } }: Omit<RowProps, "opens">) {
  if (row.tflops === null || row.median_us === null) return <Text color="red">{row.status}</Text>;
  const filled = Math.max(1, Math.round((bar * row.tflops) / fastest));
  return (
    <>
      <Text color={colourOf(row)}>{bar === 0 ? "" : "█".repeat(filled).padEnd(bar)}</Text>
      {rate ? ` ${formatRate(row.tflops)}`.padEnd(rateWidth) : ""}
      {`${formatNumber(row.median_us)} us`.padStart(timeWidth)}
      <Text bold>{row.vs_fp16 === null ? "" : ` x ${row.vs_fp16.toFixed(3)}`}</Text>
      {row.throttled ? <Text color="yellow"> throttled</Text> : null}
      <Text dimColor> {printable(row.config ?? "")}</Text>
    </>
  );
}

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
