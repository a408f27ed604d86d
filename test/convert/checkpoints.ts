import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Dtype } from "../../src/safetensors/dtype.ts";
import { dtypeBits } from "../../src/safetensors/dtype.ts";
import { Prng } from "../safetensors/prng.ts";
import { frame } from "../safetensors/scratch.ts";

/** A tensor to put into a file; `data` fills its shape exactly. */
export type TensorData = {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
};

/** A safetensors file of these tensors, in this order. */
export function safetensorsOf(tensors: readonly TensorData[]): Uint8Array {
  let end = 0;
  const infos = tensors.map(({ name, dtype, shape, data }) => {
    const begin = end;
    end += data.length;
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  return frame(JSON.stringify(Object.fromEntries(infos)), Buffer.concat(tensors.map(({ data }) => data)));
}

/** Writes shards, their index and a config.json; one shard alone becomes model.safetensors. */
export function writeCheckpoint(
  directory: string,
  shards: Readonly<Record<string, readonly TensorData[]>>,
): string {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "config.json"), '{\n  "model_type": "llama"\n}\n');
  for (const [file, tensors] of Object.entries(shards))
    writeFileSync(join(directory, file), safetensorsOf(tensors));
  if (!("model.safetensors" in shards)) {
    const weight_map = Object.fromEntries(
      Object.entries(shards).flatMap(([file, tensors]) => tensors.map(({ name }) => [name, file])),
    );
    writeFileSync(join(directory, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
  }
  return directory;
}

/**
 * Random 16-bit weights below 1.875, spread over many exponents: about 3 % of the BF16 words, and of the F16 words
 * none, need a patch without a row shift.
 */
export function weights(
  prng: Prng,
  name: string,
  dtype: "F16" | "BF16",
  shape: readonly number[],
): TensorData {
  const count = shape.reduce((product, n) => product * n, 1);
  const words = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    const random = prng.below(2 ** 32);
    const sign = random & 0x8000;
    const mantissa = random & 0x7f;
    words[i] =
      dtype === "BF16"
        ? sign | ((109 + ((random >>> 16) % 17)) << 7) | mantissa
        : sign | ((random >>> 16) % 0x3400);
  }
  return { name, dtype, shape, data: new Uint8Array(words.buffer) };
}

/** Sets one word of a tensor, counted from its start. */
export function withWord(tensor: TensorData, index: number, word: number): TensorData {
  const data = Uint8Array.from(tensor.data);
  data[2 * index] = word & 0xff;
  data[2 * index + 1] = word >> 8;
  return { ...tensor, data };
}

/** One block of a decoder: the linear weights of `width`, and a norm. Row 3 of o_proj exceeds 1.875. */
export function decoderLayer(
  prng: Prng,
  layer: number,
  dtype: "F16" | "BF16",
  width: number,
): readonly TensorData[] {
  const at = `model.layers.${layer}`;
  const linear = (name: string, rows: number, cols: number): TensorData =>
    weights(prng, `${at}.${name}.weight`, dtype, [rows, cols]);
  const three = dtype === "F16" ? 0x4200 : 0x4040;
  return [
    weights(prng, `${at}.input_layernorm.weight`, dtype, [width]),
    linear("self_attn.q_proj", width, width),
    linear("self_attn.k_proj", width, width),
    linear("self_attn.v_proj", width, width),
    withWord(linear("self_attn.o_proj", width, width), 3 * width, three),
    linear("mlp.gate_proj", 2 * width, width),
    linear("mlp.up_proj", 2 * width, width),
    linear("mlp.down_proj", width, 2 * width),
  ];
}

/** A checkpoint of three shards, BF16 and F16, with patches and row shifts, and a tokenizer beside them. */
export function writeModel(
  directory: string,
  { seed = 1, width = 32, layers = 3 }: { seed?: number; width?: number; layers?: number } = {},
): string {
  const prng = new Prng(seed);
  const shards: [TensorData[], TensorData[], TensorData[]] = [[], [], []];
  for (let layer = 0; layer < layers; layer++) {
    const dtype = layer % 3 === 1 ? "F16" : "BF16";
    shards[layer % 3]?.push(...decoderLayer(prng, layer, dtype, width));
  }
  const names = shards.map((_, i) => `model-0000${i + 1}-of-00003.safetensors`);
  writeCheckpoint(directory, Object.fromEntries(shards.map((tensors, i) => [names[i], tensors])));
  writeFileSync(join(directory, "tokenizer.json"), JSON.stringify({ seed }));
  writeFileSync(join(directory, "README.md"), "# A model\n");
  return directory;
}

/** Rows of the given words as a matrix of F16 or BF16. */
export function matrix(
  name: string,
  dtype: "F16" | "BF16",
  rows: readonly (readonly number[])[],
): TensorData {
  const words = Uint16Array.from(rows.flat());
  return { name, dtype, shape: [rows.length, rows[0]?.length ?? 0], data: new Uint8Array(words.buffer) };
}

/** Zeros of a dtype and shape. */
export function zeros(name: string, dtype: Dtype, shape: readonly number[]): TensorData {
  const words = shape.reduce((product, n) => product * n, 1);
  return { name, dtype, shape, data: new Uint8Array((words * dtypeBits[dtype]) / 8) };
}

/** SHA-256 of every file below a directory by its path, empty folders as `folder/`. */
export function treeOf(directory: string): Readonly<Record<string, string>> {
  const entries: [string, string][] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      const below = Object.entries(treeOf(path));
      if (below.length === 0) entries.push([`${entry.name}/`, "empty"]);
      entries.push(...below.map(([name, hash]): [string, string] => [`${entry.name}/${name}`, hash]));
    } else {
      entries.push([entry.name, entry.isFile() ? sha256(readFileSync(path)) : "no file"]);
    }
  }
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
