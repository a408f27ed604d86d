import type { BenchRow } from "../bench/row.ts";
import type { BenchEvent } from "../bench/runner.ts";
import { formatNumber, printable } from "../report/format.ts";
import type { BenchScreenProps } from "./bench-screen.tsx";
import { openLiveScreen } from "./live-screen.ts";
import type { ProgressMode } from "./progress.ts";
import { redraws, secondsBeforeLines } from "./progress.ts";

/** Draws a benchmark on stderr. `close` must be called before anything else is printed there. */
export type BenchProgress = { readonly onEvent: (event: BenchEvent) => void; close(): void };

/** A live table on a terminal; else lines: of every point when asked for, or for each tenth of a long run. */
export async function createBenchProgress(
  mode: ProgressMode,
  quiet: boolean,
  device: string,
): Promise<BenchProgress> {
  if (mode === "tty" || (mode === "auto" && !quiet && redraws())) return liveTable(device);
  if (mode === "plain") return lines(() => true);
  if (mode === "none" || quiet) return lines(() => false);
  return lines(isNewTenth());
}

// Enough to see a few points beside each other.
const shownRows = 16;

async function liveTable(device: string): Promise<BenchProgress> {
  const [screen, { createElement }, { BenchScreen }] = await Promise.all([
    openLiveScreen(),
    import("react"),
    import("./bench-screen.tsx"),
  ]);
  const count = new Count();
  let props: Omit<BenchScreenProps, "columns" | "height"> = {
    device: printable(device),
    done: 0,
    points: 0,
    rows: [],
  };
  const show = (): void => {
    const state = props;
    screen.show((columns, height) => createElement(BenchScreen, { ...state, columns, height }));
  };
  show();
  return {
    onEvent: (event) => {
      count.add(event);
      const { done, points, secondsLeft } = count;
      props = { ...props, done, points, secondsLeft };
      if (event.type === "point") {
        const { shape, m } = event;
        props = { ...props, current: `${printable(shape.names[0] ?? "")} ${shape.n} x ${shape.k}, M ${m}` };
      }
      if (event.type === "rows") props = { ...props, rows: [...props.rows, ...event.rows].slice(-shownRows) };
      show();
    },
    close: () => screen.close("remove"),
  };
}

function lines(isShown: (count: Count) => boolean): BenchProgress {
  const count = new Count();
  return {
    onEvent: (event) => {
      count.add(event);
      if (event.type !== "rows" || !isShown(count)) return;
      const [first] = event.rows;
      if (first === undefined) return;
      const { done, points, secondsLeft } = count;
      const eta = secondsLeft === undefined ? "" : `ETA ${Math.ceil(secondsLeft)} s`;
      const parts = [
        `${Math.floor((100 * done) / points)}%`,
        `${done} of ${points}`,
        eta,
        `${printable(first.shape)} ${first.n} x ${first.k}, M ${first.m}`,
        event.rows.map(shortly).join(", "),
      ];
      process.stderr.write(`${parts.filter((part) => part !== "").join(" | ")}\n`);
    },
    close: () => undefined,
  };
}

function shortly({ kernel, median_us, vs_fp16, status }: BenchRow): string {
  if (median_us === null) return `${kernel} ${status}`;
  const ratio = vs_fp16 === null || kernel === "fp16" ? "" : ` (x ${vs_fp16.toFixed(2)})`;
  return `${kernel} ${formatNumber(median_us)} us${ratio}`;
}

/** True where another tenth of the points is done, once the run has taken a while. */
function isNewTenth(): (count: Count) => boolean {
  let tenth = 0;
  return ({ done, points, seconds }) => {
    const reached = Math.floor((10 * done) / points);
    const isNew = reached > tenth;
    tenth = reached;
    return isNew && seconds >= secondsBeforeLines;
  };
}

/** How far a run is, and the time left by what it did since it began. */
class Count {
  readonly #started = performance.now();
  #earlier = 0;
  done = 0;
  points = 0;

  add(event: BenchEvent): void {
    if (event.type === "begin") {
      this.points = event.points;
      this.#earlier = event.done;
      this.done = event.done;
    } else if (event.type === "rows") {
      this.done++;
    }
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  get secondsLeft(): number | undefined {
    const done = this.done - this.#earlier;
    return done === 0 ? undefined : (this.seconds / done) * (this.points - this.done);
  }
}
