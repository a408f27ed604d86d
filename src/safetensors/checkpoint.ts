import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { FormatError } from "../errors.ts";
import { adviceFor, findCheckpointFile } from "./find-checkpoint-file.ts";
import type { TensorInfo } from "./header.ts";
import { readIndex, type SafetensorsIndex } from "./index-file.ts";
import { quote } from "./quote.ts";
import { openShard, type Shard } from "./reader.ts";
import { inputError, systemCode } from "./system-error.ts";

export type TensorPlace = { readonly shard: Shard; readonly info: TensorInfo };

/** The tensors of a model as one view, whatever files they lie in. */
export type Checkpoint = {
  /** The directory that holds the files. */
  readonly root: string;
  /** The index that names the shards; undefined for a single file. */
  readonly index: { readonly name: string; readonly path: string } | undefined;
  /** By file name, in UTF-8 order. */
  readonly shards: readonly Shard[];
  find(name: string): TensorPlace | undefined;
  close(): Promise<void>;
};

/** More shards than this are opened for each read, so as not to run out of file descriptors. */
const maxOpenShards = 64;

/** All parsed headers stay in memory; the largest real checkpoints have about 20 MB of them. */
const maxTotalHeaders = 400_000_000;

/**
 * Opens a checkpoint and validates all its headers against each other and the index; no tensor data is read.
 * @param source a directory, one .safetensors file, or a *.index.json. In a directory, in this order:
 * model.safetensors, model.safetensors.index.json, a lone *.safetensors.index.json, a lone *.safetensors.
 * @throws FormatError
 */
export async function openCheckpoint(source: string): Promise<Checkpoint> {
  const path = (await isDirectory(source)) ? join(source, await findCheckpointFile(source)) : source;
  const name = basename(path);
  if (name.endsWith(".safetensors.index.json")) return openSharded(path, name);
  if (name.endsWith(".safetensors")) return openSingle(path);
  throw new FormatError(
    `${quote(source)} is neither a directory nor a .safetensors nor an index of such files`,
    {
      hint: adviceFor([name]) ?? "name a .safetensors file, a *.safetensors.index.json or their directory",
    },
  );
}

async function isDirectory(source: string): Promise<boolean> {
  try {
    return (await stat(source)).isDirectory();
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw inputError(error, source);
    throw new FormatError(`${quote(source)} not found`, {
      hint: "check the path; a link that leads nowhere means that a download is incomplete",
      cause: error,
    });
  }
}

async function openSingle(path: string): Promise<Checkpoint> {
  const shard = await openShard(path);
  return {
    root: dirname(path),
    index: undefined,
    shards: [shard],
    find: (name) => {
      const info = shard.header.byName.get(name);
      return info === undefined ? undefined : { shard, info };
    },
    close: () => shard.close(),
  };
}

async function openSharded(path: string, name: string): Promise<Checkpoint> {
  const index = await readIndex(path);
  const root = dirname(path);
  const keepOpen = index.shardNames.length <= maxOpenShards;
  const shards: Shard[] = [];
  const places = new Map<string, TensorPlace>();
  const close = async () => {
    await Promise.all(shards.map((shard) => shard.close()));
  };
  try {
    // One by one, each checked against the index at once: the index bounds how many tensors pile up.
    let headers = 0;
    for (const shardName of index.shardNames) {
      const shard = await openNamedShard(root, shardName, name, keepOpen);
      shards.push(shard);
      headers += shard.header.headerBytes;
      if (headers > maxTotalHeaders) {
        throw new FormatError(`${quote(name)}: the headers of its shards exceed ${maxTotalHeaders} bytes`, {
          hint: "this is more than any real checkpoint has: the files are damaged or not to be trusted",
        });
      }
      addTensors(shard, index, name, places);
    }
    checkAllFound(index, name, places);
  } catch (error) {
    await close();
    throw error;
  }
  return { root, index: { name, path }, shards, find: (tensor) => places.get(tensor), close };
}

async function openNamedShard(
  root: string,
  shardName: string,
  index: string,
  keepOpen: boolean,
): Promise<Shard> {
  try {
    return await openShard(join(root, shardName), shardName, { keepOpen });
  } catch (error) {
    if (!(error instanceof FormatError) || systemCode(error.cause) !== "ENOENT") throw error;
    throw new FormatError(`${quote(index)}: shard ${quote(shardName)} does not exist in ${quote(root)}`, {
      hint: "the download is incomplete: fetch the missing file",
      cause: error.cause,
    });
  }
}

/** Adds the tensors of one shard; each must be new, and the index must put it exactly here. */
function addTensors(
  shard: Shard,
  index: SafetensorsIndex,
  indexName: string,
  places: Map<string, TensorPlace>,
): void {
  for (const info of shard.header.tensors) {
    const tensor = `tensor ${quote(info.name)}`;
    const other = places.get(info.name);
    if (other !== undefined) {
      throw mismatch(
        indexName,
        `${tensor} is in ${quote(other.shard.name)} and again in ${quote(shard.name)}`,
      );
    }
    const listed = index.weightMap.get(info.name);
    if (listed === undefined)
      throw mismatch(indexName, `${tensor} of ${quote(shard.name)} is not in the index`);
    if (listed !== shard.name) {
      throw mismatch(
        indexName,
        `${tensor} is in ${quote(shard.name)}, but the index puts it in ${quote(listed)}`,
      );
    }
    places.set(info.name, { shard, info });
  }
}

function checkAllFound(
  index: SafetensorsIndex,
  indexName: string,
  places: ReadonlyMap<string, TensorPlace>,
): void {
  for (const [tensor, shardName] of index.weightMap) {
    if (!places.has(tensor)) {
      throw mismatch(
        indexName,
        `tensor ${quote(tensor)} is not in ${quote(shardName)}, where the index puts it`,
      );
    }
  }
}

function mismatch(index: string, problem: string): FormatError {
  return new FormatError(`${quote(index)}: ${problem}`, {
    hint: "the index and the shards are of different downloads or versions: download all of them again",
  });
}
