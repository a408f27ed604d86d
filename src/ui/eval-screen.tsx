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
};

const barWidth = 24;

/** The state of an evaluation: a bar, and the perplexity of each precision so far. */
export function EvalScreen({ model, share, windowsDone, windows, secondsLeft, partial }: EvalScreenProps) {
  const filled = Math.round(barWidth * share);
  const base = partial.get("fp16")?.ppl;
  return (
    <Box flexDirection="column">
      <Text wrap="truncate-middle">{model}</Text>
      <Text>
        <Text color="cyan">{"█".repeat(filled)}</Text>
        {"░".repeat(barWidth - filled)} {(100 * share).toFixed(1)} %
        {windows === 0 ? "" : ` | window ${windowsDone} of ${windows}`}
        {secondsLeft === undefined ? "" : ` | ETA ${duration(secondsLeft)}`}
      </Text>
      {[...partial].map(([precision, { ppl, ppl_stderr }]) => (
        <Box key={precision}>
          <Box width={14}>
            <Text>{precision}</Text>
          </Box>
          <Text bold>{ppl.toFixed(4).padStart(12)}</Text>
          <Text dimColor>{ppl_stderr === null ? "" : ` +/- ${ppl_stderr.toFixed(4)}`}</Text>
          {base !== undefined && precision !== "fp16" ? <Text> x {(ppl / base).toFixed(5)}</Text> : null}
        </Box>
      ))}
    </Box>
  );
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
