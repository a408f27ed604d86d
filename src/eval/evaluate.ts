import type { ActivationFormat, Activations, Device, Precision } from "../device/device.ts";
import type { ModelSpec } from "../model/config.ts";
import type { Batch, Scratch } from "../model/decoder.ts";
import { freeBatch, freeScratch, makeBatch, makeScratch, runLayer } from "../model/decoder.ts";
import type { LoadedModel, Workload } from "../model/load.ts";
import type { RopeFrequencies } from "../model/rope.ts";
import type { SelfTestFailure, WindowResult } from "./window-scorer.ts";
import { WindowScorer } from "./window-scorer.ts";
import type { Window } from "./windows.ts";

export type EvaluateOptions = {
  readonly precisions: readonly Precision[];
  readonly activations: ActivationFormat;
  readonly ropeFrequencies: RopeFrequencies;
  readonly signal: AbortSignal;
  /** Called after each layer with the share of the whole text that is done, 0..1. */
  readonly onProgress: (share: number) => void;
};

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

/** What loading a model must leave memory for. */
export function workloadOf(windows: readonly Window[]): Workload {
  const total = windows.reduce((sum, { ids }) => sum + ids.length, 0);
  const longest = windows.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  return { batch: Math.max(longest, Math.min(blockTokens, total)), total };
}

/**
 * Blocks of whole windows of about {@link blockTokens}, and groups of blocks that pass the layers together: one
 * block when the layers stay in memory, as many as memory allows when they are read again for each group.
 */
function groupWindows(
  windows: readonly Member[],
  { spec, layers, hiddenBytes }: LoadedModel,
  precisions: readonly Precision[],
): Member[][][] {
  const blocks = blocksOf(windows, spec);
  if (layers.resident) return blocks.map((block) => [block]);
  const bytes = (block: readonly Member[]): number =>
    block.reduce((sum, { window }) => sum + window.ids.length, 0) * 4 * spec.hiddenSize * precisions.length;
  const groups: Member[][][] = [];
  let used = 0;
  for (const block of blocks) {
    const group = groups.at(-1);
    if (group && used + bytes(block) <= hiddenBytes) {
      group.push(block);
      used += bytes(block);
    } else {
      groups.push([block]);
      used = bytes(block);
    }
  }
  return groups;
}

function blocksOf(windows: readonly Member[], spec: ModelSpec): Member[][] {
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
  return blocks;
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
      for (const rows of scorer.blocks()) {
        this.#signal.throwIfAborted();
        const first = start + rows.first;
        await scorer.add(
          rows,
          (precision) => this.#model.device.rows(this.hidden(precision), first, rows.count),
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
