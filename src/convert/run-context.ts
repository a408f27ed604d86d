import type { Codec } from "../codec/codec.ts";

/** What the steps of one worker share: the codec, its buffers, how to stop, and whom to tell of progress. */
export type RunContext = {
  readonly codec: Codec;
  readonly buffers: BlockBuffers;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
};

/** Room for one block of source words and the planes that it becomes. */
export type Slot = { readonly source: Uint8Array; readonly upper: Uint8Array; readonly lower: Uint8Array };

/** Blocks that {@link BlockBuffers} holds at most, patch lists included. */
export const blocksPerWorker = 7;

/** The buffers of one worker: two slots, so that one block is prepared while the other is used. */
export class BlockBuffers {
  /** Bytes of source words in a block. */
  readonly blockBytes: number;
  readonly slots: readonly [Slot, Slot];
  /** Row shifts of a block in which no row needs one; a split row has at least 16 words. */
  readonly noShifts: Uint8Array;
  #patches: { readonly index: Uint8Array; readonly value: Uint8Array } | undefined;

  constructor(blockBytes: number) {
    this.blockBytes = blockBytes;
    this.slots = [newSlot(blockBytes), newSlot(blockBytes)];
    this.noShifts = new Uint8Array(blockBytes / 32);
  }

  /** Room for a patch at every word of a block; made only for sources that need patches. */
  patches(indexBytes: 4 | 8): { readonly index: Uint8Array; readonly value: Uint8Array } {
    const words = this.blockBytes / 2;
    if (this.#patches === undefined || this.#patches.index.length < words * indexBytes) {
      this.#patches = { index: new Uint8Array(words * indexBytes), value: new Uint8Array(words * 2) };
    }
    return this.#patches;
  }
}

function newSlot(blockBytes: number): Slot {
  const planeBytes = blockBytes / 2;
  return {
    source: new Uint8Array(blockBytes),
    upper: new Uint8Array(planeBytes),
    lower: new Uint8Array(planeBytes),
  };
}
