import type { ActivationFormat, Precision } from "../device/device.ts";
import { CheckError } from "../errors.ts";
import type { LoadedModel } from "../model/load.ts";
import type { RopeFrequencies } from "../model/rope.ts";
import { evaluateWindows } from "./evaluate.ts";
import type { Metrics, Perplexity } from "./metrics.ts";
import { MetricsAccumulator } from "./metrics.ts";
import type { ResumeFile } from "./resume-file.ts";
import type { SelfTestFailure, WindowResult } from "./window-scorer.ts";
import type { WindowSummary } from "./window-summary.ts";
import { summariseWindow } from "./window-summary.ts";
import type { Method, Window } from "./windows.ts";

/** Windows of a text, or sequences of ids, and how they were made. */
export type EvalTask = {
  /** `token-ids` for sequences that were given as such. */
  readonly method: Method | "token-ids";
  readonly ctx: number;
  readonly windows: readonly Window[];
  /** Of the text, or of the file of ids. */
  readonly textSha256: string;
};

export type EvalSettings = {
  readonly precisions: readonly Precision[];
  readonly activations: ActivationFormat;
  readonly ropeFrequencies: RopeFrequencies;
  /** Keep the NLL of every scored id. */
  readonly perToken: boolean;
  readonly signal: AbortSignal;
  readonly onEvent: (event: EvalEvent) => void;
};

export type EvalEvent = {
  /** Of the whole text, 0..1. */
  readonly share: number;
  readonly windowsDone: number;
  readonly windows: number;
  /** So far; absent while no new window is complete. */
  readonly partial?: ReadonlyMap<Precision, Perplexity>;
};

/** A finished window as it is written down for a resumed run. */
export type WindowRecord = {
  readonly window: number;
  readonly summaries: { readonly [precision: string]: WindowSummary };
  /** Only under `perToken`. */
  readonly nll?: { readonly [precision: string]: readonly number[] };
};

export type EvalResult = {
  readonly method: EvalTask["method"];
  readonly ctx: number;
  readonly windows: number;
  readonly scored: number;
  readonly text_sha256: string;
  readonly activations: ActivationFormat;
  readonly rope_frequencies: RopeFrequencies;
  readonly precisions: {
    readonly [precision: string]: Metrics & { readonly nll?: readonly (readonly number[])[] };
  };
};

/**
 * Evaluates a model on all windows, each precision against `fp16` where it is among them.
 *
 * @throws CheckError when nested-fp16 does not give the bits of fp16; FormatError when logits are not finite
 */
export async function evaluate(
  model: LoadedModel,
  task: EvalTask,
  settings: EvalSettings,
  resume?: { readonly file: Pick<ResumeFile, "add">; readonly done: readonly WindowRecord[] },
): Promise<EvalResult> {
  const gathered = new Gathered(task, settings);
  for (const record of resume?.done ?? []) gathered.add(record);
  const todo = task.windows
    .map((window, index) => ({ index, window }))
    .filter(({ index }) => !gathered.has(index));
  const earlier = gathered.count;
  let shown = 0;
  // Windows that pass the layers together are far along before the first of them is complete.
  const share = (ofTodo: number): number => {
    shown = Math.max(shown, (earlier + ofTodo * todo.length) / task.windows.length);
    return shown;
  };
  const onProgress = (ofTodo: number): void =>
    settings.onEvent({ share: share(ofTodo), windowsDone: gathered.count, windows: task.windows.length });
  let mismatch: SelfTestFailure | undefined;
  const onMismatch = (failure: SelfTestFailure): void => {
    mismatch ??= failure;
  };
  for await (const result of evaluateWindows(model, todo, { ...settings, onProgress }, onMismatch)) {
    if (mismatch) throw selfTestError(mismatch);
    const record = recordOf(result, settings.perToken);
    await resume?.file.add(record);
    gathered.add(record);
    settings.onEvent({
      share: share((gathered.count - earlier) / todo.length),
      windowsDone: gathered.count,
      windows: task.windows.length,
      partial: gathered.perplexities(),
    });
  }
  return gathered.result();
}

function selfTestError({ window, row, column }: SelfTestFailure): CheckError {
  return new CheckError(
    `nested-fp16 differs from fp16 in window ${window}, position ${row}, at the logit of id ${column}`,
    { hint: "both must agree in every bit: this is a bug of nestedfp or a fault of this machine" },
  );
}

function recordOf({ window, values }: WindowResult, perToken: boolean): WindowRecord {
  const entries = [...values];
  const summaries = Object.fromEntries(
    entries.map(([precision, of]) => [precision, summariseWindow(of, window)]),
  );
  if (!perToken) return { window, summaries };
  return {
    window,
    summaries,
    nll: Object.fromEntries(entries.map(([precision, of]) => [precision, Array.from(of.nll)])),
  };
}

/** Windows that are done, by precision. */
class Gathered {
  readonly #task: EvalTask;
  readonly #settings: EvalSettings;
  readonly #accumulators: ReadonlyMap<Precision, MetricsAccumulator>;
  readonly #nll = new Map<number, NonNullable<WindowRecord["nll"]>>();
  readonly #done = new Set<number>();

  constructor(task: EvalTask, settings: EvalSettings) {
    this.#task = task;
    this.#settings = settings;
    const method = task.method === "token-ids" ? "plain" : task.method;
    this.#accumulators = new Map(
      settings.precisions.map((precision) => [precision, new MetricsAccumulator(method)]),
    );
  }

  get count(): number {
    return this.#done.size;
  }

  has(window: number): boolean {
    return this.#done.has(window);
  }

  add({ window, summaries, nll }: WindowRecord): void {
    this.#done.add(window);
    for (const [precision, accumulator] of this.#accumulators) {
      const summary = summaries[precision];
      if (summary) accumulator.add(summary);
    }
    if (nll) this.#nll.set(window, nll);
  }

  perplexities(): ReadonlyMap<Precision, Perplexity> {
    return new Map([...this.#accumulators].map(([precision, sums]) => [precision, sums.perplexity()]));
  }

  result(): EvalResult {
    const precisions: { [precision: string]: Metrics & { nll?: (readonly number[])[] } } = {};
    for (const [precision, accumulator] of this.#accumulators) {
      precisions[precision] = { ...accumulator.metrics(), ...this.#perToken(precision) };
    }
    const { method, ctx, windows, textSha256 } = this.#task;
    return {
      method,
      ctx,
      windows: windows.length,
      scored: windows.reduce((sum, { scoreFrom, scoreTo }) => sum + scoreTo - scoreFrom, 0),
      text_sha256: textSha256,
      activations: this.#settings.activations,
      rope_frequencies: this.#settings.ropeFrequencies,
      precisions,
    };
  }

  #perToken(precision: Precision): { nll?: (readonly number[])[] } {
    if (!this.#settings.perToken) return {};
    return { nll: this.#task.windows.map((_, window) => this.#nll.get(window)?.[precision] ?? []) };
  }
}
