import { concurrently } from "../concurrency/concurrently.ts";
import { FormatError } from "../errors.ts";
import { chooseCheckpointFile } from "../safetensors/find-checkpoint-file.ts";
import type { SafetensorsHeader } from "../safetensors/header.ts";
import { parseHeader } from "../safetensors/header.ts";
import { parseIndex } from "../safetensors/index-file.ts";
import { quote } from "../safetensors/quote.ts";
import type { HubClient } from "./client.ts";
import { connections } from "./connections.ts";
import { readRange } from "./read-range.ts";
import { fileNamed, type RepoFile, type Repository } from "./repository.ts";

/** The weights of a repository by the names of their files. */
export type WeightFiles = {
  readonly index: { readonly name: string; readonly bytes: Uint8Array } | undefined;
  /** By file name, in UTF-8 order. */
  readonly shards: readonly RepoFile[];
};

/** One shard of which only the header was read. */
export type RemoteShard = {
  readonly name: string;
  readonly size: number;
  readonly header: SafetensorsHeader;
};

const largestIndex = 100_000_000;
const largestHeader = 100_000_000;
/** Of a whole checkpoint: all parsed headers stay in memory. */
const largestHeaders = 400_000_000;
/** Most headers are shorter: one request then does. */
const firstRead = 128 * 1024;

/** Finds what a checkpoint is opened by, as in a directory, and its shards; no weights are read. */
export async function findWeights(
  client: HubClient,
  repository: Repository,
  signal: AbortSignal,
): Promise<WeightFiles> {
  const { id } = repository.reference;
  const rootNames = repository.files.map(({ path }) => path).filter((path) => !path.includes("/"));
  const name = chooseCheckpointFile(rootNames, id);
  const file = fileNamed(repository, name);
  if (!name.endsWith(".index.json")) return { index: undefined, shards: [file] };
  if (file.size > largestIndex) {
    throw new FormatError(
      `${quote(id)}: ${quote(name)} has ${file.size} bytes, more than the limit of ${largestIndex}`,
    );
  }
  const bytes = await readRange(client, repository, file, 0, file.size, signal);
  const { shardNames } = parseIndex(bytes, name);
  return { index: { name, bytes }, shards: shardNames.map((shard) => fileNamed(repository, shard)) };
}

/**
 * Reads the headers of shards by range requests, and checks them against the index.
 *
 * @throws FormatError, NetworkError
 */
export async function readHeaders(
  client: HubClient,
  repository: Repository,
  { index, shards }: WeightFiles,
  signal: AbortSignal,
): Promise<RemoteShard[]> {
  const places = new Map<string, string>();
  const weightMap = index && parseIndex(index.bytes, index.name).weightMap;
  let total = 0;
  const readOne = async (file: RepoFile, _: number, either: AbortSignal): Promise<RemoteShard> => {
    const header = await readHeader(client, repository, file, either);
    total += header.headerBytes;
    if (total > largestHeaders) throw tooLarge(index?.name ?? file.path);
    return { name: file.path, size: file.size, header };
  };
  const read = await concurrently(shards, connections, signal, () => readOne);
  for (const { name: shard, header } of read) {
    for (const { name } of header.tensors) {
      const listed = weightMap === undefined ? shard : weightMap.get(name);
      if (places.has(name) || listed !== shard) throw mismatch(index?.name ?? "", name, shard, listed);
      places.set(name, shard);
    }
  }
  for (const [name, shard] of weightMap ?? []) {
    if (!places.has(name)) throw mismatch(index?.name ?? "", name, undefined, shard);
  }
  return read;
}

async function readHeader(
  client: HubClient,
  repository: Repository,
  file: RepoFile,
  signal: AbortSignal,
): Promise<SafetensorsHeader> {
  const refuse = (problem: string): FormatError =>
    new FormatError(`${quote(file.path)}: ${problem}`, {
      hint: "the file is no safetensors file, or damaged",
    });
  if (file.size < 8) throw refuse(`the file has ${file.size} bytes, a safetensors file has at least 8`);
  const start = await readRange(client, repository, file, 0, Math.min(firstRead, file.size), signal);
  const length = new DataView(start.buffer).getBigUint64(0, true);
  if (length > largestHeader) throw refuse(`header length ${length} exceeds the limit of ${largestHeader}`);
  const end = 8 + Number(length);
  if (end > file.size)
    throw refuse(`header length ${length} exceeds the ${file.size - 8} bytes that follow it in the file`);
  if (end <= start.length) return parseHeader(start.subarray(8, end), file.size - end, file.path);
  const rest = await readRange(client, repository, file, start.length, end - start.length, signal);
  return parseHeader(Buffer.concat([start.subarray(8), rest]), file.size - end, file.path);
}

function tooLarge(index: string): FormatError {
  return new FormatError(`${quote(index)}: the headers of its shards exceed ${largestHeaders} bytes`, {
    hint: "this is more than any real checkpoint has: do not trust this repository",
  });
}

function mismatch(
  index: string,
  tensor: string,
  found: string | undefined,
  listed: string | undefined,
): FormatError {
  const where = (file: string | undefined): string => (file === undefined ? "no shard" : quote(file));
  return new FormatError(
    `${quote(index)}: tensor ${quote(tensor)} is in ${where(found)}, by the index in ${where(listed)}`,
    {
      hint: "the index and the shards are of different versions",
    },
  );
}
