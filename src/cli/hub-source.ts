import type { Listener } from "../convert/events.ts";
import type { Origin, SourceLocation } from "../convert/source.ts";
import { chooseSourceRoot } from "../convert/source-root.ts";
import type { RemoteSource } from "../convert/stream.ts";
import { FormatError, NetworkError } from "../errors.ts";
import { CachedRepository } from "../hub/cache.ts";
import { HubClient } from "../hub/client.ts";
import { download } from "../hub/download.ts";
import { fetchFile } from "../hub/fetch-file.ts";
import { readRange } from "../hub/read-range.ts";
import { findWeights, readHeaders, type WeightFiles } from "../hub/remote-checkpoint.ts";
import type { RepoReference } from "../hub/repo-id.ts";
import { openRepository, type Repository } from "../hub/repository.ts";
import { quote } from "../safetensors/quote.ts";
import type { HubFlags } from "./hub-options.ts";
import { readHubOptions } from "./hub-options.ts";

/** What a repository is fetched for: every file that convert copies, or what a model needs to run. */
type Purpose = "convert" | "eval";

/** A repository whose files are on this disk. */
export type Located = Exclude<SourceLocation, string>;

/** Brings what is needed of a repository into the cache. */
export async function locate(
  reference: RepoReference,
  flags: HubFlags,
  purpose: Purpose,
  signal: AbortSignal,
  listener: Listener,
): Promise<Located> {
  const options = readHubOptions(flags);
  if (options.offline) return locateOffline(reference, options.cache);
  return withRepository(reference, flags, signal, async (client, repository) => {
    const weights = await findWeights(client, repository, signal);
    const paths = neededPaths(repository, weights, purpose);
    const path = await download(client, repository, paths, signal, fetchEvents(repository, paths, listener));
    return { path, origin: originOf(repository) };
  });
}

async function locateOffline(reference: RepoReference, cache: string): Promise<Located> {
  const cached = new CachedRepository(cache, reference);
  const commit = await cached.commitOffline();
  return {
    path: cached.snapshot(commit),
    origin: { repo: reference.id, revision: commit, files: undefined },
  };
}

/** Opens a repository online, and frees its connections after `work`. @throws NetworkError when offline */
export async function withRepository<T>(
  reference: RepoReference,
  flags: HubFlags,
  signal: AbortSignal,
  work: (client: HubClient, repository: Repository) => Promise<T>,
): Promise<T> {
  const options = readHubOptions(flags);
  if (options.offline) {
    throw new NetworkError(`${quote(reference.id)} cannot be asked for: this run is offline`, {
      hint: "leave --offline and HF_HUB_OFFLINE out",
    });
  }
  const client = new HubClient(options);
  try {
    return await work(client, await openRepository(client, reference, signal));
  } finally {
    await client.close();
  }
}

/** A checkpoint of which the headers are read by range requests, and the rest when it is fetched. */
export async function openRemote(
  client: HubClient,
  repository: Repository,
  signal: AbortSignal,
): Promise<RemoteSource> {
  const weights = await findWeights(client, repository, signal);
  const shards = await readHeaders(client, repository, weights, signal);
  const versions = new Map(weights.shards.map(({ path, oid }) => [path, oid]));
  return {
    origin: originOf(repository),
    index: weights.index,
    shards: shards.map((shard) => ({ ...shard, version: versions.get(shard.name) ?? "" })),
    read: (name, maxBytes) => readSmall(client, repository, name, maxBytes, signal),
    fetch: (path, target, stop, onBytes) => fetchFile(client, repository, path, target, stop, onBytes),
  };
}

async function readSmall(
  client: HubClient,
  repository: Repository,
  name: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const file = repository.files.find(({ path }) => path === name);
  if (file === undefined) return undefined;
  if (file.size <= maxBytes) return readRange(client, repository, file, 0, file.size, signal);
  throw new FormatError(`${quote(name)} has ${file.size} bytes, more than the limit of ${maxBytes}`, {
    hint: "it is another file under this name",
  });
}

function originOf({
  reference,
  commit,
  files,
}: Repository): Origin & { readonly files: NonNullable<Origin["files"]> } {
  return {
    repo: reference.id,
    revision: commit,
    files: files.map(({ path, size, oid, kind }) => ({
      path,
      size,
      sha256: kind === "sha256" ? oid : undefined,
    })),
  };
}

const modelFiles = new Set([
  "config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "nestedfp/manifest.json",
]);

function neededPaths({ files }: Repository, { index, shards }: WeightFiles, purpose: Purpose): string[] {
  const all = files.map(({ path }) => path);
  const names = { index, shards: shards.map(({ path }) => ({ name: path })) };
  const weights = [...names.shards.map(({ name }) => name), ...(index ? [index.name] : [])];
  const beside =
    purpose === "convert"
      ? chooseSourceRoot(names, all).files
      : all.filter((path) => modelFiles.has(path) || /^nestedfp\/lower-[^/]+\.nfp$/.test(path));
  return [...weights, ...beside];
}

/** Progress of a download as events of a run. */
export function fetchEvents(
  { files }: Repository,
  paths: readonly string[],
  listener: Listener,
): Parameters<typeof download>[4] {
  const wanted = new Set(paths);
  listener({
    type: "total",
    bytes: files.reduce((sum, { path, size }) => sum + (wanted.has(path) ? size : 0), 0),
  });
  return ({ type, file, bytes }) => {
    if (type === "wait") {
      const message = `waiting for another process, which holds the lock ${quote(file)}`;
      listener({ type: "warning", message });
    } else if (type === "end") listener({ type, phase: "fetch", file });
    else listener({ type, phase: "fetch", file, bytes });
  };
}
