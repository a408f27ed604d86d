import { formatBytes, printable } from "../report/format.ts";

/** What one line of progress says. */
export type ProgressState = {
  /** `splitting`, or `total`, which has no file. */
  readonly verb: string;
  readonly file?: string;
  /** From 0 to 1. */
  readonly share: number;
  readonly done: number;
  readonly size: number;
  /** Not known at the very beginning. */
  readonly bytesPerSecond?: number | undefined;
  readonly secondsLeft?: number | undefined;
};

/** How many columns the parts of a line get; 0 for a part that there is no room for. */
export type LineLayout = { readonly label: number; readonly bar: number; readonly rate: boolean };

// `100% | 1023 MiB of 1023 MiB | 1023 MiB/s | ETA 12m34s` and the space before it.
const numbersWidth = 54;
const rateWidth = " | 1023 MiB/s".length;

const leastLabel = 25;
const mostLabel = 46;
const leastBar = 8;
const mostBar = 24;

/** Shares a line of `width` columns: the numbers come first, then a label that tells shards apart, then the bar. */
export function layoutLine(width: number): LineLayout {
  const rate = width - numbersWidth >= leastLabel;
  const room = Math.max(0, width - numbersWidth + (rate ? 0 : rateWidth));
  if (!rate || room < leastLabel + 1 + leastBar) return { label: Math.min(room, mostLabel), bar: 0, rate };
  const bar = Math.min(mostBar, Math.max(leastBar, Math.floor(room / 3)));
  return { label: Math.min(mostLabel, room - 1 - bar), bar, rate };
}

/** One line for a terminal of `columns`, and never longer than that. */
export function progressLine(state: ProgressState, columns: number): string {
  // The last column stays free: what clears the rest of a line takes the character under the cursor with it.
  const width = Math.max(1, columns - 1);
  const layout = layoutLine(width);
  const parts = [
    labelOf(state, layout.label).padEnd(layout.label),
    barOf(state.share, layout.bar),
    numbersOf(state, layout.rate),
  ];
  return [...parts.filter((part) => part !== "").join(" ")].slice(0, width).join("");
}

/** `scanning model-00001-of-00004.safetensors`, or as much of it as there is room for. */
function labelOf({ verb, file }: ProgressState, width: number): string {
  const room = width - verb.length - 1;
  if (file === undefined || room < 2) return verb.slice(0, width);
  const name = printable(file);
  const [, number, count] = /(\d+)-of-(\d+)\.\w+$/.exec(name) ?? [];
  const shard = number && [
    `shard ${Number(number)} of ${Number(count)}`,
    `${Number(number)}/${Number(count)}`,
  ];
  const fitting = [name, ...(shard || [])].find((text) => [...text].length <= room);
  return `${verb} ${fitting ?? `…${[...name].slice(1 - room).join("")}`}`;
}

function barOf(share: number, width: number): string {
  const full = Math.floor(share * width);
  return "█".repeat(full) + "░".repeat(width - full);
}

function numbersOf({ share, done, size, bytesPerSecond, secondsLeft }: ProgressState, rate: boolean): string {
  const speed = bytesPerSecond === undefined ? "–" : `${formatBytes(bytesPerSecond)}/s`;
  const numbers = [
    `${Math.floor(100 * share)}%`.padStart(4),
    `${formatBytes(done)} of ${formatBytes(size)}`,
    ...(rate ? [speed] : []),
    `ETA ${secondsLeft === undefined ? "–" : timeLeft(secondsLeft)}`,
  ];
  return numbers.join(" | ");
}

/** `12m34s`: two units, six columns at most. */
function timeLeft(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (count: number): string => String(count).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  const hours = Math.floor(whole / 3600);
  if (hours < 100) return `${hours}h${two(Math.floor(whole / 60) % 60)}m`;
  return `${Math.min(999, Math.floor(hours / 24))}d`;
}
