import { Box, Text } from "ink";
import type { Perplexity } from "../eval/metrics.ts";
import { barLine } from "./bar-line.ts";

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

/**
 * The state of an evaluation: a bar, and the perplexity of each precision so far. No wider than it must be: what fits a
 * terminal that is made narrower is not folded by it.
 */
export function EvalScreen({ model, partial, columns, share, secondsLeft, ...count }: EvalScreenProps) {
  const width = Math.max(1, columns - 1);
  const { full, empty, facts } = barLine(share, factsOf(share, secondsLeft), width);
  const window = windowOf(count, width);
  return (
    <Box flexDirection="column" width={width}>
      <Box>
        <Text wrap="truncate-middle">{model}</Text>
        <Box flexShrink={0}>
          <Text>{window}</Text>
        </Box>
      </Box>
      <Text wrap="truncate">
        <Text color="cyan">{full}</Text>
        {`${empty}${facts}`}
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

const leastName = 8;

/** Nothing where it would leave the model no room, or where the number of windows is not known yet. */
function windowOf(
  { windowsDone, windows }: Pick<EvalScreenProps, "windowsDone" | "windows">,
  width: number,
): string {
  const text = ` | window ${windowsDone} of ${windows}`;
  return windows === 0 || text.length + leastName > width ? "" : text;
}

/** A line too short for both keeps the share. */
function factsOf(share: number, secondsLeft: number | undefined): [string, ...string[]] {
  const percent = `${(100 * share).toFixed(1)} %`;
  return secondsLeft === undefined ? [percent] : [`${percent} | ETA ${duration(secondsLeft)}`, percent];
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
