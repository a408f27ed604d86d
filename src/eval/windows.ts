import { FormatError, UsageError } from "../errors.ts";

export const methods = ["plain", "gptq", "llama.cpp", "hf"] as const;
/** How a text becomes windows (EVAL.md); the name belongs to every perplexity. */
export type Method = (typeof methods)[number];

/** One forward pass: the NLL of `ids[p]` given the ids before it counts for scoreFrom <= p < scoreTo. */
export type Window = {
  readonly ids: Int32Array;
  /** At least 1, as nothing predicts the first id. */
  readonly scoreFrom: number;
  readonly scoreTo: number;
};

export type LayoutOptions = {
  /** Width of a window in ids; undefined is the method's own. */
  readonly ctx?: number | undefined;
  /** Ids from one window's beginning to the next's, `hf` only; undefined is 512, or half of a ctx below 1024. */
  readonly stride?: number | undefined;
  /** Keep the first windows only. */
  readonly limit?: number | undefined;
  /** Longest sequence the model reads. */
  readonly modelMax: number;
  /** Whether the tokenizer begins a text with `bosId`. */
  readonly addsBos: boolean;
  readonly bosId?: number | undefined;
};

export type Layout = {
  readonly windows: readonly Window[];
  /** The width that was used. */
  readonly ctx: number;
  /** `hf` only. */
  readonly stride: number | undefined;
  readonly warnings: readonly string[];
};

/**
 * Lays windows over the ids of a text as a method does. Windows are views of `ids`, except where `llama.cpp`
 * replaces the first id.
 * @throws UsageError for options that no window can satisfy; FormatError when the text is too short, or the model for
 *   the width
 */
export function layoutWindows(ids: Int32Array, method: Method, options: LayoutOptions): Layout {
  const warnings: string[] = [];
  const ctx = width(method, options, warnings);
  const stride = strideOf(method, options, ctx);
  const limit =
    count("--limit", options.limit, 1, "without --limit every window is evaluated") ??
    Number.POSITIVE_INFINITY;
  if (ids.length < 2) {
    throw new FormatError(`the text has ${ids.length} token ids, but a perplexity needs at least 2`, {
      hint: "give a longer text",
    });
  }
  const windows: Window[] = [];
  for (const window of walk(ids, method, ctx, stride, options)) {
    if (windows.push(window) >= limit) break;
  }
  if (windows.length === 0) {
    throw new FormatError(
      `the text has ${ids.length} token ids, but method ${method} needs a whole window of ${ctx}`,
      { hint: "give a longer text or a smaller --ctx, or use --method plain" },
    );
  }
  return { windows, ctx, stride: method === "hf" ? stride : undefined, warnings };
}

/** Each sequence is one window, scored from its second id on. */
export function sequenceWindows(sequences: readonly Int32Array[]): Window[] {
  return sequences.map((ids) => ({ ids, scoreFrom: 1, scoreTo: ids.length }));
}

const methodWidth = { plain: 2048, gptq: 2048, "llama.cpp": 512, hf: 1024 } as const;

function width(method: Method, options: LayoutOptions, warnings: string[]): number {
  // Below this a window of the method scores nothing: llama.cpp's first scored id is ctx / 2 + 1.
  const [least, hint] =
    method === "llama.cpp"
      ? [3, "method llama.cpp scores the second half of a window, which a narrower one has not"]
      : [2, "the first id of a window is only read, so that one more is needed to be scored"];
  const asked = count(
    "--ctx",
    options.ctx,
    least,
    `${hint}; without --ctx it is ${ownWidth(method, options)}`,
  );
  const wanted = asked ?? methodWidth[method];
  if (wanted <= options.modelMax) return wanted;
  if (asked !== undefined) {
    throw new FormatError(`--ctx is ${asked}, but the model reads at most ${options.modelMax} ids`, {
      hint: `give --ctx ${options.modelMax} or less; the limit is max_position_embeddings of its config.json`,
    });
  }
  if (method !== "plain") {
    warnings.push(
      `the window of method ${method} is ${wanted}, but the model reads at most ${options.modelMax}, which is used`,
    );
  }
  return ownWidth(method, options);
}

/** Where no width is asked for. */
function ownWidth(method: Method, { modelMax }: LayoutOptions): number {
  return Math.min(methodWidth[method], modelMax);
}

function strideOf(method: Method, options: LayoutOptions, ctx: number): number {
  const asked = count("--stride", options.stride, 1, `use a stride of 1 to ${ctx}`);
  if (method !== "hf") {
    if (asked === undefined) return ctx;
    throw new UsageError(`--stride ${asked} goes with --method hf only, not with ${method}`, {
      hint: "the windows of the other methods do not overlap",
    });
  }
  const stride = asked ?? Math.min(512, Math.floor(ctx / 2));
  if (stride > ctx) {
    throw new UsageError(
      `--stride ${stride} exceeds the window of ${ctx}, so ids between would be left out`,
      {
        hint: `use a stride of 1 to ${ctx}`,
      },
    );
  }
  return stride;
}

function count(option: string, value: number | undefined, min: number, hint: string): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= min)) return value;
  throw new UsageError(`${option} is ${value}, but must be an integer of at least ${min}`, { hint });
}

function* walk(
  ids: Int32Array,
  method: Method,
  ctx: number,
  stride: number,
  options: LayoutOptions,
): Generator<Window> {
  // The end of the window before: `hf` scores no id twice, so a window past the one that reaches n scores nothing.
  let scored = 0;
  for (let begin = 0; begin < ids.length; begin += stride) {
    const end = Math.min(begin + ctx, ids.length);
    const whole = end - begin === ctx;
    if (!whole && (method === "gptq" || method === "llama.cpp")) return;
    const window = ids.subarray(begin, end);
    const scoreTo = window.length;
    if (method === "llama.cpp") {
      yield { ids: withBos(window, options), scoreFrom: Math.floor(ctx / 2) + 1, scoreTo };
    } else {
      const scoreFrom = Math.max(1, scored - begin);
      if (scoreFrom < scoreTo) yield { ids: window, scoreFrom, scoreTo };
    }
    scored = end;
  }
}

/** llama.cpp overwrites the first id of every window, it does not put one before. */
function withBos(window: Int32Array, { addsBos, bosId }: LayoutOptions): Int32Array {
  if (!addsBos || bosId === undefined) return window;
  const ids = window.slice();
  ids[0] = bosId;
  return ids;
}
