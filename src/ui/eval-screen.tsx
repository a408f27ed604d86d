import { Box, Text } from "ink";
import type { Perplexity } from "../eval/metrics.ts";

export type EvalScreenProps = {
  readonly model: string;
  /** Of the whole text, 0..1. */
  readonly share: number;
  readonly windowsDone: number;
  readonly windows: number;
  readonly secondsLeft: number | undefined;
  readonly partial: ReadonlyMap<string, Perplexity>;
  /** Of the terminal; no line is wrapped. */
  readonly columns: number;
};

/** The state of an evaluation: a bar, and the perplexity of each precision so far. */
export function EvalScreen({ model, partial, columns, ...state }: EvalScreenProps) {
  const width = Math.max(1, columns - 1);
  const { bar, facts } = barLine(state, width);
  return (
    <Box flexDirection="column" width={width}>
      <Text wrap="truncate-middle">{model}</Text>
      <Text wrap="truncate">
        <Text color="cyan">{"█".repeat(bar.filled)}</Text>
        {`${"░".repeat(bar.width - bar.filled)}${facts}`}
      </Text>
      {tableRows(partial, width).map(({ precision, ppl, error, ratio }) => (
        <Text key={precision} wrap="truncate">
          {precision}
          <Text bold>{ppl}</Text>
          <Text dimColor>{error}</Text>
          {ratio}
        </Text>
      ))}
    </Box>
  );
}

const widestBar = 24;
const narrowestBar = 6;

/** The bar gets what the facts leave; a line too short for all of them keeps the share, then the time left. */
function barLine(
  {
    share,
    windowsDone,
    windows,
    secondsLeft,
  }: Pick<EvalScreenProps, "share" | "windowsDone" | "windows" | "secondsLeft">,
  width: number,
): { readonly bar: { readonly width: number; readonly filled: number }; readonly facts: string } {
  const percent = `${(100 * share).toFixed(1)} %`;
  const left = secondsLeft === undefined ? [] : [`ETA ${duration(secondsLeft)}`];
  const window = windows === 0 ? [] : [`window ${windowsDone} of ${windows}`];
  const choices = [[percent, ...window, ...left], [percent, ...left], [percent]].map((parts) =>
    parts.join(" | "),
  );
  const facts = choices.find((text) => narrowestBar + 1 + text.length <= width) ?? percent;
  const room = Math.min(widestBar, width - facts.length - 1);
  if (room < narrowestBar) return { bar: { width: 0, filled: 0 }, facts };
  return { bar: { width: room, filled: Math.round(room * share) }, facts: ` ${facts}` };
}

type Row = {
  readonly precision: string;
  readonly ppl: string;
  readonly error: string;
  readonly ratio: string;
};

/** Cells of equal width in each column; where there is no room for all, the error is left out first, then the ratio. */
function tableRows(partial: ReadonlyMap<string, Perplexity>, width: number): Row[] {
  const base = partial.get("fp16")?.ppl;
  const rows = [...partial].map(([precision, { ppl, ppl_stderr }]) => ({
    precision,
    ppl: ` ${ppl.toFixed(4)}`,
    error: ppl_stderr === null ? "" : ` +/- ${ppl_stderr.toFixed(4)}`,
    ratio: base === undefined || precision === "fp16" ? "" : ` x ${(ppl / base).toFixed(5)}`,
  }));
  const widest = (key: keyof Row): number => rows.reduce((most, row) => Math.max(most, row[key].length), 0);
  const wide = {
    precision: widest("precision"),
    ppl: widest("ppl"),
    error: widest("error"),
    ratio: widest("ratio"),
  };
  const needed = wide.precision + wide.ppl + wide.ratio;
  return rows.map(({ precision, ppl, error, ratio }) => ({
    precision: precision.padEnd(wide.precision),
    ppl: ppl.padStart(wide.ppl),
    error: needed + wide.error > width ? "" : error.padEnd(ratio === "" ? 0 : wide.error),
    ratio: needed > width ? "" : ratio,
  }));
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
