import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { FormatError } from "../errors.ts";
import type { Checkpoint, TensorPlace } from "../safetensors/checkpoint.ts";
import { openCheckpoint } from "../safetensors/checkpoint.ts";
import { compareUtf8 } from "../safetensors/compare-utf8.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import { openShard, readWholeFile } from "../safetensors/reader.ts";
import type { ModelSpec } from "./config.ts";
import { parseConfig } from "./config.ts";
import { expectedTensors } from "./expected-tensors.ts";
import { JsonFields } from "./json-fields.ts";
import { refuseOtherQuantisation } from "./quantisation.ts";

/** A weight as it is stored: 16-bit or wider words, or planes of a converted directory. */
export type StoredWeight =
  | { readonly kind: "words"; readonly place: TensorPlace }
  | {
      readonly kind: "planes";
      readonly upper: TensorPlace;
      readonly scale: TensorPlace;
      /** Absent in an FP8-only directory. */
      readonly lower: TensorPlace | undefined;
    };

/** A model on disk, source or converted, whose tensors are known to be there with the shapes of its config. */
export type ModelFiles = {
  readonly root: string;
  readonly spec: ModelSpec;
  /** Whether any weight is stored as planes, and whether all of these have their lower one. */
  readonly nested: boolean;
  readonly hasLower: boolean;
  /** Whether `nestedfp convert` wrote it, be it without splitting anything. */
  readonly converted: boolean;
  /** Changes when any weight file does: names, sizes and times. */
  readonly fingerprint: string;
  stored(name: string): StoredWeight;
  /** Whether a tensor is there; biases may be asked for by name. */
  has(name: string): boolean;
  close(): Promise<void>;
};

const largestConfig = 16 * 1024 * 1024;
const wordDtypes = new Set(["F16", "BF16", "F32"]);

/**
 * Opens a model: a directory, a .safetensors file or an index, with config.json beside the weights.
 *
 * @throws FormatError for an unsupported architecture, and for tensors that are missing or contradict the config
 */
export async function openModel(path: string): Promise<ModelFiles> {
  const checkpoint = await openCheckpoint(path);
  const opened: Shard[] = [];
  const close = async (): Promise<void> => {
    await checkpoint.close();
    for (const shard of opened) await shard.close();
  };
  try {
    const configPath = join(checkpoint.root, "config.json");
    const config = await readWholeFile(configPath, largestConfig);
    const spec = parseConfig(config, configPath);
    refuseOtherQuantisation(JsonFields.parse(config, configPath, "python"));
    opened.push(...(await openLower(checkpoint.root)));
    const lower = new Map(
      opened.flatMap((shard) => shard.header.tensors.map((info) => [info.name, { shard, info }])),
    );
    const weights = new Map<string, StoredWeight>();
    for (const { name, shape } of expectedTensors(spec))
      weights.set(name, locate(checkpoint, lower, name, shape));
    refuseMoreLayers(checkpoint, spec, configPath);
    const planes = [...weights.values()].filter((weight) => weight.kind === "planes");
    return {
      root: checkpoint.root,
      spec,
      nested: planes.length > 0,
      converted: planes.length > 0 || (await exists(join(checkpoint.root, "nestedfp", "manifest.json"))),
      fingerprint: await fingerprintOf([...checkpoint.shards, ...opened]),
      hasLower: planes.every((weight) => weight.lower !== undefined),
      stored: (name) => {
        const weight = weights.get(name);
        if (weight === undefined) throw new Error(`the model has no tensor ${name}`);
        return weight;
      },
      has: (name) => weights.has(name),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A model cut off after some layers computes, and what it computes says nothing. */
function refuseMoreLayers({ shards }: Checkpoint, { layers }: ModelSpec, configPath: string): void {
  for (const { header } of shards) {
    for (const { name } of header.tensors) {
      const layer = /^model\.layers\.(\d{1,6})\./.exec(name)?.[1];
      if (layer === undefined || Number(layer) < layers) continue;
      throw new FormatError(
        `${quote(configPath)} says num_hidden_layers ${layers}, but the weights have ${quote(name)}`,
        { hint: "the configuration and the weights are of different models" },
      );
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** The lower shards of a converted directory; none for a source checkpoint or an FP8-only view. */
async function openLower(root: string): Promise<Shard[]> {
  const folder = join(root, "nestedfp");
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".nfp"));
  const shards: Shard[] = [];
  for (const name of names.sort(compareUtf8)) shards.push(await openShard(join(folder, name)));
  return shards;
}

/** @throws FormatError when the tensor is missing or is not what the decoder needs */
function locate(
  checkpoint: Checkpoint,
  lower: ReadonlyMap<string, TensorPlace>,
  name: string,
  shape: readonly number[],
): StoredWeight {
  const place = checkpoint.find(name);
  if (place === undefined) {
    throw new FormatError(
      `${quote(basename(checkpoint.root))} has no tensor ${quote(name)} of shape [${shape}]`,
      {
        hint: "config.json and the weights do not belong together, or a shard is missing",
      },
    );
  }
  refuseOtherShape(place, shape);
  if (wordDtypes.has(place.info.dtype)) return { kind: "words", place };
  const scale = checkpoint.find(`${name}_scale`);
  if (place.info.dtype !== "F8_E4M3" || scale === undefined) {
    throw new FormatError(
      `tensor ${quote(name)} is ${place.info.dtype}, which is neither 16-bit nor an upper plane`,
      {
        hint: "evaluate the 16-bit model or a directory that `nestedfp convert` wrote",
      },
    );
  }
  refuseOtherShape(scale, [shape[0] ?? 0, 1]);
  const lowerPlace = lower.get(`${name}_lower`);
  if (lowerPlace) refuseOtherShape(lowerPlace, shape);
  return { kind: "planes", upper: place, scale, lower: lowerPlace };
}

function refuseOtherShape({ shard, info }: TensorPlace, shape: readonly number[]): void {
  if (info.shape.join() === shape.join()) return;
  throw new FormatError(
    `${quote(shard.name)}: tensor ${quote(info.name)} has shape [${info.shape}], by config.json it is [${shape}]`,
    { hint: "config.json and the weights do not belong together" },
  );
}

async function fingerprintOf(shards: readonly Shard[]): Promise<string> {
  const parts = await Promise.all(
    shards.map(
      async ({ path, name, size }) => `${name} ${size} ${(await stat(path, { bigint: true })).mtimeNs}`,
    ),
  );
  return parts.join("\n");
}
