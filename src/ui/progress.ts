import type { MultiBar, SingleBar } from "cli-progress";
import type { Listener, Phase, RunEvent } from "../convert/events.ts";
import { formatBytes, printable } from "../report/format.ts";
import type { ProgressState } from "./progress-line.ts";
import { progressLine } from "./progress-line.ts";

/** `auto`: bars on a terminal, plain lines elsewhere. */
export type ProgressMode = "auto" | "tty" | "plain" | "none";

/** Draws the events of a run on stderr. `close` must be called before anything else is printed there. */
export type Progress = { readonly listener: Listener; close(): void };

/** Chooses how to draw. Bars need a terminal that redraws; CI logs and pipes get sparse lines. */
export async function createProgress(mode: ProgressMode, quiet: boolean): Promise<Progress> {
  const warn = (message: string): void => {
    if (!quiet) process.stderr.write(`Warning: ${message}\n`);
  };
  if (mode === "tty" || (mode === "auto" && !quiet && redraws())) return bars();
  if (mode === "plain") return plainLines(warn, 0);
  return plainLines(warn, mode === "auto" && !quiet ? secondsBeforeLines : Number.POSITIVE_INFINITY);
}

/** Whether stderr is a terminal that can be redrawn; CI logs and pipes cannot. */
export function redraws(): boolean {
  // As ink decides it: an empty variable is one, and "false" is none.
  const isCi = ["CI", "CONTINUOUS_INTEGRATION"].some((name) => !/^(0|false)$/.test(process.env[name] ?? "0"));
  return process.stderr.isTTY && process.env.TERM !== "dumb" && !isCi;
}

const verbs: Readonly<Record<Phase, string>> = {
  fetch: "fetching",
  scan: "scanning",
  split: "splitting",
  verify: "verifying",
  hash: "hashing",
  rebuild: "rebuilding",
  copy: "copying",
  upload: "uploading",
};

async function bars(): Promise<Progress> {
  const { default: progress } = await import("cli-progress");
  const all: MultiBar = new progress.MultiBar(
    {
      stream: process.stderr,
      format: (_, { progress: share, eta }, payload: LinePayload) => {
        // The library says "INF" or "NULL" where it knows no time.
        const secondsLeft = Number.isFinite(eta) ? eta : undefined;
        return progressLine({ ...payload, share, secondsLeft }, process.stderr.columns || 80);
      },
      hideCursor: true,
      clearOnComplete: true,
      stopOnComplete: false,
      // A line that stays the same still has to be drawn where a warning or a bar that is gone moved it.
      forceRedraw: true,
      fps: 8,
      // Averages over more updates than the default: blocks arrive in bursts from parallel shards.
      etaBuffer: 64,
    },
    progress.Presets.shades_classic,
  );
  const files = new Map<string, Bar>();
  let total: Bar | undefined;
  const handle = (event: RunEvent): void => {
    if (event.type === "total") {
      total?.remove();
      total = new Bar(all, { verb: "total" }, event.bytes);
    } else if (event.type === "begin") {
      files.set(event.file, new Bar(all, { verb: verbs[event.phase], file: event.file }, event.bytes));
    } else if (event.type === "bytes") {
      files.get(event.file)?.add(event.bytes);
      total?.add(event.bytes);
    } else if (event.type === "end") {
      files.get(event.file)?.remove();
      files.delete(event.file);
    } else if (all.isActive) {
      all.log(foldLines(`Warning: ${event.message}`, process.stderr.columns || 80));
    } else {
      process.stderr.write(`Warning: ${event.message}\n`);
    }
  };
  const close = (): void => {
    // What was logged since the last drawing would be lost.
    if (all.isActive) all.update();
    all.stop();
  };
  return { listener: handle, close };
}

/** While bars are drawn the terminal does not wrap: a longer text would lose its end. */
function foldLines(text: string, columns: number): string {
  return text.replace(new RegExp(`.{${columns}}(?=.)`, "gu"), "$&\n").concat("\n");
}

type LinePayload = Omit<ProgressState, "share" | "secondsLeft">;

/** One bar with its rate. */
class Bar {
  readonly #all: MultiBar;
  readonly #bar: SingleBar;
  readonly #size: number;
  readonly #started = performance.now();
  #done = 0;

  constructor(all: MultiBar, label: Pick<ProgressState, "verb" | "file">, size: number) {
    this.#all = all;
    this.#size = size;
    this.#bar = all.create(Math.max(1, size), 0, { ...label, ...this.#numbers() });
  }

  add(bytes: number): void {
    this.#done += bytes;
    this.#bar.update(this.#done, this.#numbers());
  }

  remove(): void {
    this.#all.remove(this.#bar);
  }

  #numbers(): Omit<LinePayload, "verb" | "file"> {
    const seconds = (performance.now() - this.#started) / 1000;
    const bytesPerSecond = seconds < 0.2 ? undefined : this.#done / seconds;
    return { done: this.#done, size: this.#size, bytesPerSecond };
  }
}

// Without being asked: a run that is over in a moment needs no lines on its way.
export const secondsBeforeLines = 2;

/** A line at each quarter of the whole, once the run has taken `quietSeconds`. */
function plainLines(warn: (message: string) => void, quietSeconds: number): Progress {
  const started = performance.now();
  let total = 0;
  let done = 0;
  let quarter = 0;
  const handle = (event: RunEvent): void => {
    if (event.type === "warning") warn(event.message);
    if (event.type === "total") {
      total = event.bytes;
      done = 0;
      quarter = 0;
    }
    if (event.type !== "bytes") return;
    done += event.bytes;
    const reached = total === 0 ? 0 : Math.min(4, Math.floor((4 * done) / total));
    if (reached === quarter) return;
    quarter = reached;
    const seconds = (performance.now() - started) / 1000;
    if (seconds < quietSeconds) return;
    const rate = `${formatBytes(done / seconds)}/s`;
    process.stderr.write(
      `${25 * quarter}% | ${formatBytes(done)} of ${formatBytes(total)} | ${rate} | ${verbs[event.phase]} ${printable(event.file)}\n`,
    );
  };
  return { listener: handle, close: () => undefined };
}
