import { concurrently } from "../concurrency/concurrently.ts";
import { refuseFullDisk } from "../safetensors/disk-space.ts";
import { CachedRepository } from "./cache.ts";
import { anotherCache, inCache } from "./cache-error.ts";
import type { HubClient } from "./client.ts";
import { connections } from "./connections.ts";
import { fileNamed, type RepoFile, type Repository } from "./repository.ts";
import { transfer } from "./transfer.ts";

/** What a download says of itself. */
export type DownloadListener = (event: {
  /** `wait`: another process has held the lock of the content for some seconds. */
  readonly type: "begin" | "bytes" | "end" | "wait";
  /** Of the repository; the lock when it is waited for. */
  readonly file: string;
  readonly bytes: number;
}) => void;

/**
 * Brings files of a repository into the cache, several at a time, as far as they are not there yet.
 *
 * @returns the folder that holds them, links to their contents
 * @throws NetworkError, MachineError, FormatError
 */
export async function download(
  client: HubClient,
  repository: Repository,
  paths: readonly string[],
  signal: AbortSignal,
  listener: DownloadListener,
): Promise<string> {
  const files = paths.map((path) => fileNamed(repository, path));
  const cached = new CachedRepository(client.options.cache, repository.reference);
  const bringOne = (file: RepoFile, _: number, either: AbortSignal) =>
    bring(client, repository, cached, file, either, listener);
  await refuseFullDisk(client.options.cache, await cached.missingBytes(files), anotherCache);
  await inCache(async () => {
    await concurrently(files, connections, signal, () => bringOne);
    await cached.keepRef(repository.commit);
  });
  return cached.snapshot(repository.commit);
}

async function bring(
  client: HubClient,
  repository: Repository,
  cached: CachedRepository,
  file: RepoFile,
  signal: AbortSignal,
  listener: DownloadListener,
): Promise<void> {
  if (!(await cached.has(file))) {
    const onWait = (lock: string): void => listener({ type: "wait", file: lock, bytes: 0 });
    await cached.locked(file, signal, onWait, async () => {
      // Another process may have brought it while this one waited.
      if (await cached.has(file)) return;
      listener({ type: "begin", file: file.path, bytes: file.size });
      const partial = cached.partialPath(file);
      await transfer(client, repository, file, partial, signal, (bytes) =>
        listener({ type: "bytes", file: file.path, bytes }),
      );
      await cached.adopt(file, partial);
      listener({ type: "end", file: file.path, bytes: file.size });
    });
  }
  await cached.link(file, repository);
}
