import { FormatError } from "../errors.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import { tensorWords } from "../safetensors/header.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import { planeNames } from "./layout.ts";

const patchesPerRead = 16_384;

/** Reads the patch list of one tensor in step with its words. */
export class PatchReader {
  readonly #lower: Shard;
  readonly #index: TensorInfo;
  readonly #value: TensorInfo;
  readonly #indexBytes: 4 | 8;
  readonly #words: number;
  readonly #total: number;
  #next = 0;
  #last = -1;
  #positions: number[] = [];
  #values = new Uint8Array(0);

  private constructor(lower: Shard, info: TensorInfo, index: TensorInfo, value: TensorInfo) {
    this.#lower = lower;
    this.#index = index;
    this.#value = value;
    this.#indexBytes = index.dtype === "U64" ? 8 : 4;
    this.#words = tensorWords(info.shape);
    this.#total = index.shape[0] ?? 0;
  }

  static open(lower: Shard, info: TensorInfo): PatchReader | undefined {
    const names = planeNames(info.name);
    const index = lower.header.byName.get(names.patch_index);
    const value = lower.header.byName.get(names.patch_value);
    if (index === undefined && value === undefined) return undefined;
    const isIndex = index?.shape.length === 1 && (index.dtype === "U32" || index.dtype === "U64");
    if (!isIndex || value?.dtype !== "U16" || index.shape.join() !== value.shape.join()) {
      throw new FormatError(`${quote(lower.name)}: the patch list of ${quote(info.name)} is incomplete`, {
        hint: "the file is damaged: fetch it again",
      });
    }
    return new PatchReader(lower, info, index, value);
  }

  /** Overwrites the patched ones of `count` words that begin at word `first` of the tensor. */
  async apply(bytes: Uint8Array, first: number, count: number): Promise<void> {
    for (;;) {
      if (this.#positions.length === 0 && !(await this.#load())) return;
      const here = this.#positions.findIndex((position) => position >= first + count);
      const applied = here === -1 ? this.#positions.length : here;
      for (let i = 0; i < applied; i++) {
        const at = 2 * ((this.#positions[i] ?? 0) - first);
        bytes[at] = this.#values[2 * i] ?? 0;
        bytes[at + 1] = this.#values[2 * i + 1] ?? 0;
      }
      this.#positions = this.#positions.slice(applied);
      this.#values = this.#values.subarray(2 * applied);
      if (here !== -1) return;
    }
  }

  /** Reads the next run of the list; false at its end. */
  async #load(): Promise<boolean> {
    const count = Math.min(patchesPerRead, this.#total - this.#next);
    if (count === 0) return false;
    const raw = new Uint8Array(count * this.#indexBytes);
    this.#values = new Uint8Array(count * 2);
    await Promise.all([
      this.#lower.readTensor(this.#index, this.#next * this.#indexBytes, raw),
      this.#lower.readTensor(this.#value, this.#next * 2, this.#values),
    ]);
    const view = new DataView(raw.buffer);
    this.#positions = Array.from({ length: count }, (_, i) =>
      this.#indexBytes === 8 ? Number(view.getBigUint64(8 * i, true)) : view.getUint32(4 * i, true),
    );
    this.#next += count;
    for (const position of this.#positions) {
      if (position <= this.#last || position >= this.#words) {
        throw new FormatError(
          `${quote(this.#lower.name)}: tensor ${quote(this.#index.name)} holds ${position} after ${this.#last}, not ascending below ${this.#words}`,
          { hint: "the file is damaged: fetch it again" },
        );
      }
      this.#last = position;
    }
    return true;
  }
}
