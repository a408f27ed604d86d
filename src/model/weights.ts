import type { Codec } from "../codec/codec.ts";
import { halfToNumber } from "../codec/reference.ts";
import type { Constants, Device, Precision, WeightBytes, Weights } from "../device/device.ts";
import type { TensorPlace } from "../safetensors/checkpoint.ts";
import { BytePool } from "./byte-pool.ts";
import type { ModelSpec } from "./config.ts";
import { layerTensors } from "./expected-tensors.ts";
import { readHalfWords } from "./half-words.ts";
import type { ModelFiles, StoredWeight } from "./model-files.ts";
import { readPlace, shiftsOf, sizeOf } from "./stored-bytes.ts";

/** A linear layer in every precision that was asked for. */
export type Linear = {
  /** The weights to use for a precision, and the precision to name in the call. */
  in(precision: Precision): { readonly weights: Weights; readonly precision: Precision };
  readonly bias: Constants | undefined;
};

/** The weights of one decoder layer on a device. */
export type Layer = {
  /** By the part of the name after `model.layers.N.`, without `.weight`. */
  linear(name: string): Linear;
  norm(name: string): Constants;
  free(): void;
};

/** Precisions that a model on disk can be evaluated in, best known first. */
export function availablePrecisions(files: ModelFiles): Precision[] {
  if (!files.nested) return ["fp16", "fp8"];
  return files.hasLower ? ["fp16", "nested-fp16", "nested-fp8", "fp8"] : ["nested-fp8"];
}

/**
 * Reads weights from a model's files onto a device. What is read from disk is kept once; FP16 words that are
 * rebuilt from planes, and the FP8 baseline, are copies that live as long as the layer handed out.
 */
export class WeightLoader {
  readonly #files: ModelFiles;
  readonly #device: Device;
  readonly #codec: Codec;
  readonly #precisions: readonly Precision[];
  readonly #pool = new BytePool();

  constructor(files: ModelFiles, device: Device, codec: Codec, precisions: readonly Precision[]) {
    this.#files = files;
    this.#device = device;
    this.#codec = codec;
    this.#precisions = precisions;
  }

  /** Bytes that {@link readLayer} reads and keeps. */
  storedBytes(layer: number): number {
    return layerTensors(this.#files.spec, layer)
      .map(({ name }) => this.#files.stored(name))
      .reduce(
        (sum, stored) => sum + this.#places(stored).reduce((bytes, place) => bytes + sizeOf(place), 0),
        0,
      );
  }

  /** Bytes of the copies that {@link placeLayer} makes: rounded or rebuilt FP16 words, and the FP8 baseline. */
  copiedBytes(layer: number): number {
    const [fp16, fp8] = (["fp16", "fp8"] as const).map((precision) => this.#precisions.includes(precision));
    return layerTensors(this.#files.spec, layer).reduce((sum, { name, shape }) => {
      const stored = this.#files.stored(name);
      const isCopied =
        stored.kind === "words" ? stored.place.info.dtype !== "F16" : fp16 === true || fp8 === true;
      const values = shape.reduce((product, size) => product * size, 1);
      return sum + values * ((isCopied ? 2 : 0) + (fp8 ? 1 : 0));
    }, 0);
  }

  /** Reads the bytes of a layer; nothing is on the device yet. */
  async readLayer(layer: number): Promise<LayerBytes> {
    const bytes: LayerBytes = new Map();
    for (const { name } of layerTensors(this.#files.spec, layer)) {
      bytes.set(name, await this.#read(this.#files.stored(name)));
    }
    return bytes;
  }

  /** Takes back what {@link readLayer} gave, once nothing on the device refers to it. */
  releaseLayer(bytes: LayerBytes): void {
    for (const stored of bytes.values()) {
      const arrays = stored.kind === "words" ? [stored.words] : [stored.upper, stored.lower];
      for (const array of arrays) if (array) this.#pool.give(array);
    }
  }

  /** Puts a layer on the device, with the copies that the precisions need. */
  async placeLayer(layer: number, bytes: LayerBytes): Promise<Layer> {
    const prefix = `model.layers.${layer}.`;
    const linears = new Map<string, PlacedLinear>();
    const norms = new Map<string, Constants>();
    for (const { name, shape } of layerTensors(this.#files.spec, layer)) {
      const stored = bytes.get(name);
      if (stored === undefined || !name.endsWith(".weight")) continue;
      const module = name.slice(prefix.length, -".weight".length);
      if (shape.length === 1) {
        norms.set(module, await this.#constants(stored));
        continue;
      }
      const bias = bytes.get(`${prefix}${module}.bias`);
      linears.set(module, await this.#placeLinear(stored, shape, bias && (await this.#constants(bias))));
    }
    return {
      linear: (module) => found(linears, module),
      norm: (module) => found(norms, module),
      free: () => {
        for (const { handles, copy } of linears.values()) {
          this.#device.free(...handles);
          if (copy) this.#pool.give(copy);
        }
        this.#device.free(...norms.values());
      },
    };
  }

  /** The embedding table, as binary16 words. */
  async embedding(): Promise<Weights> {
    return this.#halfWeights("model.embed_tokens.weight");
  }

  async finalNorm(): Promise<Constants> {
    return this.#constants(await this.#read(this.#files.stored("model.norm.weight")));
  }

  /** The output head, as binary16 words in every precision: the embedding table itself where they are tied. */
  async head(spec: ModelSpec, embedding: Weights): Promise<Weights> {
    if (spec.tieWordEmbeddings) return embedding;
    return this.#halfWeights("lm_head.weight");
  }

  /** A [vocabSize, hiddenSize] matrix. */
  async #halfWeights(name: string): Promise<Weights> {
    const { vocabSize, hiddenSize } = this.#files.spec;
    const stored = this.#files.stored(name);
    const words = await readHalfWords(stored, [vocabSize, hiddenSize], this.#device, this.#codec);
    return this.#device.weights({ kind: "fp16", words }, vocabSize, hiddenSize);
  }

  /** The files of a weight that these precisions need. */
  #places(stored: StoredWeight): TensorPlace[] {
    if (stored.kind === "words") return [stored.place];
    const needsLower = this.#precisions.some((precision) => precision !== "nested-fp8");
    return [stored.upper, stored.scale, ...(needsLower && stored.lower ? [stored.lower] : [])];
  }

  async #read(stored: StoredWeight): Promise<WeightOnDisk> {
    const [first, scale, lower] = await Promise.all(
      this.#places(stored).map((place) => readPlace(place, this.#pool.take(sizeOf(place)))),
    );
    if (first === undefined) throw new Error("a weight without bytes");
    if (stored.kind === "words") return { kind: "words", words: first, dtype: stored.place.info.dtype };
    const shifts = shiftsOf(scale ?? new Uint8Array(0), stored.scale);
    return { kind: "planes", upper: first, lower, shifts, cols: stored.upper.info.shape[1] ?? 0 };
  }

  async #placeLinear(
    stored: WeightOnDisk,
    shape: readonly number[],
    bias: Constants | undefined,
  ): Promise<PlacedLinear> {
    const [rows = 0, cols = 0] = shape;
    const byPrecision = new Map<Precision, { weights: Weights; precision: Precision }>();
    const handles: (Weights | Constants)[] = bias ? [bias] : [];
    const place = (bytes: WeightBytes, ...precisions: Precision[]): void => {
      const weights = this.#device.weights(bytes, rows, cols);
      handles.push(weights);
      for (const precision of precisions) {
        byPrecision.set(precision, { weights, precision: bytes.kind === "fp16" ? "fp16" : precision });
      }
    };
    if (stored.kind === "planes") {
      const { upper, lower, shifts } = stored;
      place({ kind: "nested", upper, lower, shifts }, "nested-fp8", "nested-fp16");
    }
    const wanted = (precision: Precision): boolean => this.#precisions.includes(precision);
    let copy: Uint8Array | undefined;
    if (stored.kind === "words" || wanted("fp16") || wanted("fp8")) {
      const words = await this.#halfWords(stored);
      if (stored.kind === "planes") copy = words;
      if (wanted("fp8"))
        place({ kind: "fp8", ...(await this.#device.quantiseFp8(words, rows, cols)) }, "fp8");
      // A weight that was kept 16-bit is 16-bit in both nested precisions.
      const kept: Precision[] = stored.kind === "words" ? ["nested-fp8", "nested-fp16"] : [];
      place({ kind: "fp16", words }, "fp16", ...kept);
    }
    return { in: (precision) => found(byPrecision, precision), bias, handles, copy };
  }

  /** The values as binary16 words: rounded from BF16 and F32, rebuilt from planes times 2^s. */
  async #halfWords(stored: WeightOnDisk): Promise<Uint8Array> {
    if (stored.kind === "planes") {
      const { upper, lower, shifts, cols } = stored;
      if (lower === undefined) throw new Error("an FP8-only weight has no 16-bit words");
      const words = this.#pool.take(2 * upper.length);
      await this.#codec.joinRows(upper, lower, "F16", cols, shifts, words);
      return words;
    }
    if (stored.dtype === "F16") return stored.words;
    return this.#device.toHalf(stored.words, stored.dtype === "BF16" ? "bf16" : "fp32");
  }

  async #constants(stored: WeightOnDisk): Promise<Constants> {
    const half = await this.#halfWords(stored);
    return this.#device.constants(floatsOfHalves(half));
  }
}

/** The bytes of a layer by tensor name. */
export type LayerBytes = Map<string, WeightOnDisk>;

export type WeightOnDisk =
  | { readonly kind: "words"; readonly words: Uint8Array; readonly dtype: string }
  | {
      readonly kind: "planes";
      readonly upper: Uint8Array;
      readonly lower: Uint8Array | undefined;
      readonly shifts: Uint8Array;
      readonly cols: number;
    };

type PlacedLinear = Linear & {
  readonly handles: readonly (Weights | Constants)[];
  /** The words that were rebuilt from planes. */
  readonly copy: Uint8Array | undefined;
};

function found<K, V>(map: ReadonlyMap<K, V>, key: K): V {
  const value = map.get(key);
  if (value === undefined) throw new Error(`the layer has no ${String(key)}`);
  return value;
}

/** Norms and biases are small: widened here. */
function floatsOfHalves(half: Uint8Array): Float32Array {
  const view = new DataView(half.buffer, half.byteOffset, half.length);
  return Float32Array.from({ length: half.length / 2 }, (_, i) => halfToNumber(view.getUint16(2 * i, true)));
}
