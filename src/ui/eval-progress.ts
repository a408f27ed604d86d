import type { EvalEvent } from "../eval/eval.ts";
import type { Perplexity } from "../eval/metrics.ts";
import { openLiveScreen } from "./live-screen.ts";
import type { ProgressMode } from "./progress.ts";
import { redraws, secondsBeforeLines } from "./progress.ts";

/** Draws an evaluation on stderr. `close` must be called before anything else is printed there. */
export type EvalProgress = {
  readonly onEvent: (event: EvalEvent) => void;
  warn(message: string): void;
  close(end: "finished" | "failed"): void;
};

/** A live table on a terminal, else a line for every tenth of the text. */
export async function createEvalProgress(
  mode: ProgressMode,
  quiet: boolean,
  model: string,
): Promise<EvalProgress> {
  if (mode === "tty" || (mode === "auto" && !quiet && redraws())) return liveTable(model);
  if (mode === "plain") return tenths(0);
  return tenths(mode === "auto" && !quiet ? secondsBeforeLines : Number.POSITIVE_INFINITY);
}

async function liveTable(model: string): Promise<EvalProgress> {
  const [screen, { createElement }, { EvalScreen }] = await Promise.all([
    openLiveScreen(),
    import("react"),
    import("./eval-screen.tsx"),
  ]);
  const clock = new Clock();
  let partial: ReadonlyMap<string, Perplexity> = new Map();
  const show = ({ share, windowsDone, windows }: EvalEvent): void => {
    const secondsLeft = clock.secondsLeft(share);
    const state = { model, share, windowsDone, windows, secondsLeft, partial };
    screen.show((columns) => createElement(EvalScreen, { ...state, columns }));
  };
  show({ share: 0, windowsDone: 0, windows: 0 });
  return {
    onEvent: (event) => {
      partial = event.partial ?? partial;
      show(event);
    },
    warn: (message) => screen.print(`Warning: ${message}`),
    // The report says all that the table did. Of a run that did not get there the table is the only result.
    close: (end) => screen.close(end === "finished" || partial.size === 0 ? "remove" : "leave"),
  };
}

/** A line at each tenth, once the run has taken `quietSeconds`. */
function tenths(quietSeconds: number): EvalProgress {
  const clock = new Clock();
  let tenth = 0;
  let partial: ReadonlyMap<string, Perplexity> = new Map();
  return {
    onEvent: (event) => {
      partial = event.partial ?? partial;
      const reached = Math.floor(10 * event.share);
      if (reached === tenth) return;
      tenth = reached;
      if (clock.seconds < quietSeconds) return;
      const left = clock.secondsLeft(event.share);
      const numbers = [...partial].map(([precision, { ppl }]) => `${precision} ${ppl.toFixed(4)}`);
      const eta = left === undefined ? "" : `ETA ${Math.ceil(left)} s`;
      const parts = [
        `${10 * tenth}%`,
        `window ${event.windowsDone} of ${event.windows}`,
        eta,
        numbers.join(", "),
      ];
      process.stderr.write(`${parts.filter((part) => part !== "").join(" | ")}
`);
    },
    warn: (message) => {
      process.stderr.write(`Warning: ${message}\n`);
    },
    close: () => undefined,
  };
}

/** Time left, from what this run did since it began; a resumed run begins beyond 0. */
class Clock {
  readonly #started = performance.now();
  #first: number | undefined;

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  secondsLeft(share: number): number | undefined {
    this.#first ??= share;
    const done = share - this.#first;
    if (done <= 0) return undefined;
    return (this.seconds / done) * (1 - share);
  }
}
