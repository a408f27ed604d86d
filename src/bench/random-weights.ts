import { availableParallelism } from "node:os";
import type { Device, WeightBytes } from "../device/device.ts";
import { loadAddon } from "../native/addon.ts";
import { gaussian, seededRandom } from "./random.ts";

/** Random weights in every form, from one pool of words: each layer is a view of it, so that many layers are cheap. */
export class RandomWeights {
  readonly #device: Device;
  readonly #seed: number;
  #words: Uint8Array = new Uint8Array();
  #upper: Uint8Array = new Uint8Array();
  #lower: Uint8Array = new Uint8Array();

  constructor(device: Device, seed: number) {
    this.#device = device;
    this.#seed = seed;
  }

  /** Weights that the pool holds. */
  get size(): number {
    return this.#upper.length;
  }

  /** Makes the pool at least this large. What was viewed before keeps its bytes. */
  async grow(weights: number): Promise<void> {
    if (weights <= this.size) return;
    const block = await randomBlock(this.#device, this.#seed);
    this.#words = repeated(block.words, 2 * weights);
    this.#upper = repeated(block.upper, weights);
    this.#lower = repeated(block.lower, weights);
  }

  /** `count` binary16 weights from `first` on, below 1.875. */
  words(first: number, count: number): WeightBytes & { readonly kind: "fp16" } {
    return { kind: "fp16", words: this.#words.subarray(2 * first, 2 * (first + count)) };
  }

  /** The planes of the same weights. */
  planes(first: number, count: number): { readonly upper: Uint8Array; readonly lower: Uint8Array } {
    const end = first + count;
    return { upper: this.#upper.subarray(first, end), lower: this.#lower.subarray(first, end) };
  }
}

// A prime: no width of a matrix divides it, so that rows differ although the block repeats.
const blockWeights = 1_048_573;

async function randomBlock(
  device: Device,
  seed: number,
): Promise<{ words: Uint8Array; upper: Uint8Array; lower: Uint8Array }> {
  const random = seededRandom(seed);
  const values = Float32Array.from({ length: blockWeights }, () => 0.05 * gaussian(random));
  const words = await device.toHalf(new Uint8Array(values.buffer), "fp32");
  const upper = new Uint8Array(blockWeights);
  const lower = new Uint8Array(blockWeights);
  const addon = loadAddon();
  const pool = new addon.Pool(Math.min(2, availableParallelism()), addon.implementations()[0] ?? "scalar");
  try {
    await pool.splitRows(words, "F16", blockWeights, new Uint8Array(1), upper, lower);
  } finally {
    pool.close();
  }
  return { words, upper, lower };
}

function repeated(block: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let start = 0; start < length; start += block.length) {
    bytes.set(block.subarray(0, Math.min(block.length, length - start)), start);
  }
  return bytes;
}
