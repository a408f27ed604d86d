import type { EvalEvent } from "../eval/eval.ts";
import type { Perplexity } from "../eval/metrics.ts";
import type { ProgressMode } from "./progress.ts";
import { redraws, secondsBeforeLines } from "./progress.ts";

/** Draws an evaluation on stderr. `close` must be called before anything else is printed there. */
export type EvalProgress = { readonly onEvent: (event: EvalEvent) => void; close(): void };

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

// ink redraws the screen for each state; more often than this only costs time.
const redrawMs = 150;

async function liveTable(model: string): Promise<EvalProgress> {
  const [{ render }, { createElement }, { EvalScreen }] = await Promise.all([
    import("ink"),
    import("react"),
    import("./eval-screen.tsx"),
  ]);
  const clock = new Clock();
  let partial: ReadonlyMap<string, Perplexity> = new Map();
  let drawn = Number.NEGATIVE_INFINITY;
  let closed = false;
  const screen = (event: EvalEvent) =>
    createElement(EvalScreen, {
      model,
      ...event,
      partial,
      secondsLeft: clock.secondsLeft(event.share),
      columns: process.stderr.columns || 80,
    });
  const first: EvalEvent = { share: 0, windowsDone: 0, windows: 0 };
  const app = render(screen(first), {
    stdout: process.stderr,
    stderr: process.stderr,
    exitOnCtrlC: false,
    patchConsole: false,
  });
  return {
    onEvent: (event) => {
      partial = event.partial ?? partial;
      if (performance.now() - drawn < redrawMs && event.share < 1) return;
      drawn = performance.now();
      app.rerender(screen(event));
    },
    close: () => {
      if (closed) return;
      closed = true;
      app.clear();
      app.unmount();
    },
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
