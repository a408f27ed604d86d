import { Box, Text } from "ink";
import type { BenchRow } from "../bench/row.ts";
import { formatNumber, formatRate, formatSeconds, printable } from "../report/format.ts";
import { barLine } from "./bar-line.ts";

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
  /** Of the terminal, in lines; the oldest rows that there is no room for are left out. */
  readonly height: number;
};

// The device, the bar, the point in work, and the line of the cursor.
const otherLines = 4;

/** The state of a benchmark: how far it is, and the latest rows with bars of their throughput. */
export function BenchScreen({ device, current, columns, height, ...state }: BenchScreenProps) {
  const { done, points } = state;
  const width = Math.max(1, columns - 1);
  const { full, empty, facts } = barLine(points === 0 ? 0 : done / points, factsOf(state), width);
  const rows = state.rows.slice(-Math.max(1, height - otherLines));
  const fastest = fastestByPoint(rows);
  const cells = rows.map((row, index) => cellsOf(row, rows[index - 1]));
  const layout = layoutOf(cells, width);
  return (
    <Box flexDirection="column" width={width}>
      <Text wrap="truncate">{device}</Text>
      <Text wrap="truncate">
        <Text color="cyan">{full}</Text>
        {`${empty}${facts}`}
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
          cells={cells[index] ?? cellsOf(row, undefined)}
          layout={layout}
          share={(row.tflops ?? 0) / (fastest.get(pointOf(row)) || 1)}
        />
      ))}
    </Box>
  );
}

/** The same said shorter and shorter. */
function factsOf({
  done,
  points,
  secondsLeft,
}: Pick<BenchScreenProps, "done" | "points" | "secondsLeft">): [string, ...string[]] {
  const left = secondsLeft === undefined ? "" : ` | ETA ${formatSeconds(secondsLeft)}`;
  return [`${done} of ${points} points${left}`, `${done} of ${points}${left}`, `${done} of ${points}`];
}

type Cells = {
  readonly point: string;
  readonly kernel: string;
  readonly rate: string;
  readonly time: string;
  readonly ratio: string;
  readonly config: string;
};

/** @param before the row above, whose point is not named again */
function cellsOf(row: BenchRow, before: BenchRow | undefined): Cells {
  const opens = before === undefined || pointOf(before) !== pointOf(row);
  return {
    point: opens ? `${row.n} x ${row.k}, M ${row.m} ` : "",
    kernel: `${row.kernel} `,
    rate: row.tflops === null ? "" : ` ${formatRate(row.tflops)}`,
    time: row.median_us === null ? "" : ` ${formatNumber(row.median_us)} us`,
    ratio: row.vs_fp16 === null ? "" : ` x ${row.vs_fp16.toFixed(3)}`,
    config: row.config === null ? "" : ` ${printable(row.config)}`,
  };
}

/** Widths of the columns; 0 for one that there is no room for. */
type Layout = { readonly [name in keyof Cells | "bar"]: number };

const widestBar = 16;
const narrowestBar = 6;

/** What says most comes first: the ratio, the time, the rate, then a bar in what they leave, and the configuration. */
function layoutOf(cells: readonly Cells[], width: number): Layout {
  const widest = (key: keyof Cells): number =>
    cells.reduce((most, cell) => Math.max(most, cell[key].length), 0);
  const [point, kernel] = [widest("point"), widest("kernel")];
  let room = width - point - kernel;
  const take = (wanted: number): number => {
    if (wanted > room) {
      room = 0;
      return 0;
    }
    room -= wanted;
    return wanted;
  };
  const [ratio, time, rate] = [take(widest("ratio")), take(widest("time")), take(widest("rate"))];
  const bar = room < narrowestBar ? 0 : take(Math.min(widestBar, room));
  return { point, kernel, rate, time, ratio, bar, config: take(widest("config")) };
}

type RowProps = {
  readonly row: BenchRow;
  readonly cells: Cells;
  readonly layout: Layout;
  /** Of the throughput of the fastest row of this point. */
  readonly share: number;
};

function Row({ row, cells, layout, share }: RowProps) {
  const { point, kernel, rate, time, ratio, bar, config } = layout;
  const name = `${cells.point.padEnd(point)}${cells.kernel.padEnd(kernel)}`;
  if (row.tflops === null || row.median_us === null) {
    return (
      <Text wrap="truncate">
        {name}
        <Text color="red">{row.status}</Text>
      </Text>
    );
  }
  const filled = bar === 0 ? 0 : Math.max(1, Math.round(bar * share));
  return (
    <Text wrap="truncate">
      {name}
      <Text color={colourOf(row)}>{"█".repeat(filled).padEnd(bar)}</Text>
      {rate === 0 ? "" : cells.rate.padStart(rate)}
      {time === 0 ? "" : cells.time.padStart(time)}
      <Text bold>{ratio === 0 ? "" : cells.ratio.padStart(ratio)}</Text>
      {row.throttled ? <Text color="yellow"> throttled</Text> : null}
      <Text dimColor>{config === 0 ? "" : cells.config}</Text>
    </Text>
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
