import type { Activations, Precision } from "../device/device.ts";
import { FormatError } from "../errors.ts";
import { computeLogits } from "../model/decoder.ts";
import type { LoadedModel } from "../model/load.ts";
import type { WindowValues } from "./window-summary.ts";
import type { Window } from "./windows.ts";

/** What one window gave, by precision; the values of a precision follow its scored ids. */
export type WindowResult = {
  readonly window: number;
  readonly values: ReadonlyMap<Precision, WindowValues>;
};

/** nested-fp16 did not give the bits of fp16. */
export type SelfTestFailure = { readonly window: number; readonly row: number; readonly column: number };

/** The precision that the others are compared with. */
const reference = "fp16";

/** The precision whose logits must be those of the reference, bit for bit. */
const selfTested = "nested-fp16";

// Rows of the last hidden state that go through the head together: both logits of a block stay near 32 MiB each.
const logitBytes = 32 * 1024 * 1024;

/** Rows of the last hidden state of a window that go through the head together. */
type RowBlock = {
  readonly first: number;
  readonly count: number;
  /** False for rows that only the self-test looks at. */
  readonly scored: boolean;
};

type RowValues = { readonly nll: number[]; readonly kld: number[]; readonly sameTop1: number[] };

/** Gathers the values of one window, a block of rows at a time. */
export class WindowScorer {
  readonly #model: LoadedModel;
  readonly #index: number;
  readonly #window: Window;
  readonly #values: ReadonlyMap<Precision, RowValues>;
  /** Whether there is a reference and something to compare with it. */
  readonly #compares: boolean;
  readonly #selfTests: boolean;

  constructor(model: LoadedModel, index: number, window: Window, precisions: readonly Precision[]) {
    this.#model = model;
    this.#index = index;
    this.#window = window;
    this.#values = new Map(precisions.map((precision) => [precision, { nll: [], kld: [], sameTop1: [] }]));
    this.#compares = this.#values.has(reference) && this.#values.size > 1;
    this.#selfTests = this.#compares && this.#values.has(selfTested);
  }

  /** The scored rows, and for the self-test all others; the logits of a row predict the next id. */
  *blocks(): Generator<RowBlock> {
    const { scoreFrom, scoreTo, ids } = this.#window;
    const most = Math.max(1, Math.floor(logitBytes / (4 * this.#model.spec.vocabSize)));
    const parts = [
      { begin: 0, end: scoreFrom - 1, scored: false },
      { begin: scoreFrom - 1, end: scoreTo - 1, scored: true },
      { begin: scoreTo - 1, end: ids.length, scored: false },
    ];
    for (const { begin, end, scored } of parts) {
      if (!scored && !this.#selfTests) continue;
      for (let first = begin; first < end; first += most) {
        yield { first, count: Math.min(most, end - first), scored };
      }
    }
  }

  /** @param hiddenOf the hidden state of the block's rows in a precision */
  async add(
    { first, count, scored }: RowBlock,
    hiddenOf: (precision: Precision) => Activations,
    onMismatch: (failure: SelfTestFailure) => void,
  ): Promise<void> {
    const { device, spec, finalNorm, head } = this.#model;
    const normed = device.allocate(count, spec.hiddenSize);
    const own = device.allocate(count, spec.vocabSize);
    const base = this.#compares ? device.allocate(count, spec.vocabSize) : undefined;
    const logitsOf = (precision: Precision, to: Activations): void =>
      computeLogits(device, spec, finalNorm, head, hiddenOf(precision), normed, to);
    try {
      if (base) logitsOf(reference, base);
      for (const [precision, values] of this.#values) {
        const isBase = base !== undefined && precision === reference;
        if (!scored && precision !== selfTested) continue;
        if (!isBase) logitsOf(precision, own);
        if (scored) await this.#score(first, isBase ? base : own, isBase ? undefined : base, values);
        if (base && precision === selfTested) await this.#selfTest(first, base, own, onMismatch);
      }
    } finally {
      device.free(normed, own, ...(base ? [base] : []));
    }
  }

  async #score(
    first: number,
    logits: Activations,
    base: Activations | undefined,
    values: RowValues,
  ): Promise<void> {
    const { device } = this.#model;
    const targets = this.#window.ids.subarray(first + 1, first + 1 + logits.rows);
    values.nll.push(...(await device.nll(logits, targets)));
    if (base === undefined) return;
    const { kl, sameTop1 } = await device.compare(base, logits, targets);
    values.kld.push(...kl);
    values.sameTop1.push(...sameTop1);
  }

  /** The same values in the same arithmetic must give the same bits (EVAL.md). */
  async #selfTest(
    first: number,
    base: Activations,
    own: Activations,
    onMismatch: (failure: SelfTestFailure) => void,
  ): Promise<void> {
    const at = await this.#model.device.firstDifference(base, own);
    if (at === -1) return;
    const { vocabSize } = this.#model.spec;
    onMismatch({ window: this.#index, row: first + Math.floor(at / vocabSize), column: at % vocabSize });
  }

  /** @throws FormatError for a value that is not finite */
  result(): WindowResult {
    const base = this.#values.get(reference)?.nll;
    const values = new Map<Precision, WindowValues>();
    for (const [precision, { nll, kld, sameTop1 }] of this.#values) {
      refuseNonFinite(precision, this.#index, nll);
      const isCompared = base !== undefined && precision !== reference;
      values.set(precision, isCompared ? { nll, against: { nll: base, kld, sameTop1 } } : { nll });
    }
    return { window: this.#index, values };
  }
}

function refuseNonFinite(precision: Precision, window: number, nll: readonly number[]): void {
  const at = nll.findIndex((value) => !Number.isFinite(value));
  if (at === -1) return;
  throw new FormatError(`the logits of ${precision} in window ${window}, scored id ${at}, are not finite`, {
    hint: "the weights hold NaN or infinity, or the arithmetic overflowed: `nestedfp inspect` shows the tensors",
  });
}
