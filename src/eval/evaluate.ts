import type { ActivationFormat, Activations, Device, Precision } from "../device/device.ts";
import { FormatError } from "../errors.ts";
import type { ModelSpec } from "../model/config.ts";
import type { Batch, Scratch } from "../model/decoder.ts";
import {
  bytesPerToken,
  computeLogits,
  freeBatch,
  freeScratch,
  makeBatch,
  makeScratch,
  runLayer,
} from "../model/decoder.ts";
import type { LoadedModel } from "../model/load.ts";
import type { RopeFrequencies } from "../model/rope.ts";
import type { WindowValues } from "./window-summary.ts";
import type { Window } from "./windows.ts";

/** What one window gave, by precision; the values of a precision follow its scored ids. */
export type WindowResult = {
  readonly window: number;
  readonly values: ReadonlyMap<Precision, WindowValues>;
};

export type EvaluateOptions = {
  readonly precisions: readonly Precision[];
  readonly activations: ActivationFormat;
  readonly ropeFrequencies: RopeFrequencies;
  readonly signal: AbortSignal;
  /** Called after each layer with the share of the whole text that is done, 0..1. */
  readonly onProgress: (share: number) => void;
};

/** nested-fp16 did not give the bits of fp16. */
export type SelfTestFailure = { readonly window: number; readonly row: number; readonly column: number };

/** The precision that the others are compared with. */
const reference = "fp16";

// Rows of the last hidden state that go through the head together: both logits of a block stay near 32 MiB each.
const logitBytes = 32 * 1024 * 1024;
// Tokens of a block are a few windows: enough for the matrix products to be at their speed.
const blockTokens = 1024;

/**
 * Runs windows through the model in all precisions, and yields the values of each window in order. All precisions
 * of a layer run while its weights are there.
 *
 * @throws FormatError when logits are not finite
 */
export async function* evaluateWindows(
  model: LoadedModel,
  windows: readonly { readonly index: number; readonly window: Window }[],
  options: EvaluateOptions,
  onMismatch: (failure: SelfTestFailure) => void,
): AsyncGenerator<WindowResult> {
  const { device, spec, layers } = model;
  const groups = groupWindows(windows, model, options.precisions);
  let done = 0;
  for (const group of groups) {
    const blocks = group.map((members) => new Block(model, members, options));
    const largest = Math.max(...blocks.map((block) => block.tokens));
    const scratch = makeScratch(device, spec, largest);
    try {
      for (const block of blocks) block.embed();
      for await (const { index, layer } of layers.all()) {
        for (const block of blocks) {
          for (const precision of options.precisions) {
            const arithmetic = { precision, activations: options.activations };
            runLayer(
              device,
              spec,
              index,
              layer,
              arithmetic,
              block.batch,
              block.hidden(precision),
              rowsOf(device, scratch, block.tokens),
            );
          }
          await device.finish();
          options.signal.throwIfAborted();
        }
        const share = (done + (group.flat().length * (index + 1)) / (spec.layers + 1)) / windows.length;
        options.onProgress(share);
      }
      for (const block of blocks) yield* block.score(onMismatch);
      done += group.flat().length;
      options.onProgress(done / windows.length);
    } finally {
      freeScratch(device, scratch);
      for (const block of blocks) block.free();
    }
  }
}

type Member = { readonly index: number; readonly window: Window };

/**
 * Blocks of whole windows of about {@link blockTokens}, and groups of blocks that pass the layers together: one
 * block when the layers stay in memory, as many as memory allows when they are read again for each group.
 */
function groupWindows(
  windows: readonly Member[],
  { spec, layers, activationBytes }: LoadedModel,
  precisions: readonly Precision[],
): Member[][][] {
  const blocks: Member[][] = [];
  let tokens = 0;
  for (const member of windows) {
    const last = blocks.at(-1);
    const first = last?.[0];
    const joins =
      first && tokens + member.window.ids.length <= blockTokens && sameRotation(spec, first, member);
    if (last && joins) last.push(member);
    else blocks.push([member]);
    tokens = joins ? tokens + member.window.ids.length : member.window.ids.length;
  }
  if (layers.resident) return blocks.map((block) => [block]);
  const bytes = (block: readonly Member[]): number =>
    block.reduce((sum, { window }) => sum + window.ids.length, 0) * 4 * spec.hiddenSize * precisions.length;
  const groups: Member[][][] = [];
  let used = 0;
  for (const block of blocks) {
    const group = groups.at(-1);
    if (group && used + bytes(block) <= activationBytes) {
      group.push(block);
      used += bytes(block);
    } else {
      groups.push([block]);
      used = bytes(block) + bytesPerToken(spec) * blockTokens;
    }
  }
  return groups;
}

/** longrope turns by another table beyond the original length, so such windows do not share a batch. */
function sameRotation({ rope }: ModelSpec, a: Member, b: Member): boolean {
  if (rope.type !== "longrope") return true;
  const isLong = ({ window }: Member): boolean => window.ids.length > rope.originalMaxPositions;
  return isLong(a) === isLong(b);
}

function rowsOf(device: Device, scratch: Scratch, tokens: number): Scratch {
  if (scratch.normed.rows === tokens) return scratch;
  const first = (x: Activations): Activations => device.rows(x, 0, tokens);
  return {
    normed: first(scratch.normed),
    qkv: first(scratch.qkv),
    attended: first(scratch.attended),
    projected: first(scratch.projected),
    gateUp: first(scratch.gateUp),
  };
}

/** Some windows that pass the layers together, with their hidden state in every precision. */
class Block {
  readonly batch: Batch;
  readonly tokens: number;
  readonly #model: LoadedModel;
  readonly #members: readonly Member[];
  readonly #signal: AbortSignal;
  readonly #hidden: ReadonlyMap<Precision, Activations>;

  constructor(
    model: LoadedModel,
    members: readonly Member[],
    { precisions, ropeFrequencies, signal }: EvaluateOptions,
  ) {
    const { device, spec } = model;
    this.#model = model;
    this.#members = members;
    this.#signal = signal;
    this.batch = makeBatch(
      device,
      spec,
      members.map(({ window }) => window.ids),
      ropeFrequencies,
    );
    this.tokens = this.batch.ids.length;
    this.#hidden = new Map(
      precisions.map((precision) => [precision, device.allocate(this.tokens, spec.hiddenSize)]),
    );
  }

  hidden(precision: Precision): Activations {
    const state = this.#hidden.get(precision);
    if (state === undefined) throw new Error(`no hidden state in ${precision}`);
    return state;
  }

  embed(): void {
    const { device, embedding } = this.#model;
    for (const state of this.#hidden.values()) device.embedding(embedding, this.batch.ids, state);
  }

  async *score(onMismatch: (failure: SelfTestFailure) => void): AsyncGenerator<WindowResult> {
    let start = 0;
    for (const { index, window } of this.#members) {
      const scorer = new WindowScorer(this.#model, index, window, [...this.#hidden.keys()]);
      const rowsPerBlock = Math.max(1, Math.floor(logitBytes / (4 * this.#model.spec.vocabSize)));
      // The logits of row r predict the id at r + 1.
      for (let row = window.scoreFrom - 1; row < window.scoreTo - 1; row += rowsPerBlock) {
        this.#signal.throwIfAborted();
        const count = Math.min(rowsPerBlock, window.scoreTo - 1 - row);
        await scorer.add(
          row,
          count,
          (precision) => this.#model.device.rows(this.hidden(precision), start + row, count),
          onMismatch,
        );
      }
      yield scorer.result();
      start += window.ids.length;
    }
  }

  free(): void {
    this.#model.device.free(...this.#hidden.values());
    freeBatch(this.#model.device, this.batch);
  }
}

/** Gathers the values of one window, a block of rows at a time. */
class WindowScorer {
  readonly #model: LoadedModel;
  readonly #index: number;
  readonly #window: Window;
  readonly #values: ReadonlyMap<Precision, { nll: number[]; kld: number[]; sameTop1: number[] }>;

  constructor(model: LoadedModel, index: number, window: Window, precisions: readonly Precision[]) {
    this.#model = model;
    this.#index = index;
    this.#window = window;
    this.#values = new Map(precisions.map((precision) => [precision, { nll: [], kld: [], sameTop1: [] }]));
  }

  async add(
    row: number,
    count: number,
    hiddenOf: (precision: Precision) => Activations,
    onMismatch: (failure: SelfTestFailure) => void,
  ): Promise<void> {
    const { device, spec, finalNorm, head } = this.#model;
    const targets = this.#window.ids.subarray(row + 1, row + 1 + count);
    const normed = device.allocate(count, spec.hiddenSize);
    const own = device.allocate(count, spec.vocabSize);
    const compares = this.#values.has(reference) && this.#values.size > 1;
    const base = compares ? device.allocate(count, spec.vocabSize) : undefined;
    try {
      if (base) computeLogits(device, spec, finalNorm, head, hiddenOf(reference), normed, base);
      for (const [precision, values] of this.#values) {
        const logits = precision === reference && base ? base : own;
        if (logits === own) computeLogits(device, spec, finalNorm, head, hiddenOf(precision), normed, own);
        values.nll.push(...(await device.nll(logits, targets)));
        if (base === undefined || logits === base) continue;
        const { kl, sameTop1 } = await device.compare(base, own, targets);
        values.kld.push(...kl);
        values.sameTop1.push(...sameTop1);
        if (precision === "nested-fp16") await this.#selfTest(row, base, own, onMismatch);
      }
    } finally {
      device.free(normed, own, ...(base ? [base] : []));
    }
  }

  /** The same values in the same arithmetic must give the same bits (EVAL.md). */
  async #selfTest(
    row: number,
    base: Activations,
    own: Activations,
    onMismatch: (failure: SelfTestFailure) => void,
  ): Promise<void> {
    const at = await this.#model.device.firstDifference(base, own);
    if (at === -1) return;
    const { vocabSize } = this.#model.spec;
    onMismatch({ window: this.#index, row: row + Math.floor(at / vocabSize), column: at % vocabSize });
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
