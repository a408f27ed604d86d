import { join } from "node:path";
import { UsageError } from "../errors.ts";
import { datasets, datasetText } from "../eval/dataset.ts";
import type { Method } from "../eval/windows.ts";
import { CachedRepository } from "../hub/cache.ts";
import { download } from "../hub/download.ts";
import { quote } from "../safetensors/quote.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { whileFetching } from "./hub-model.ts";
import { type HubFlags, readHubOptions } from "./hub-options.ts";
import { fetchEvents, withRepository } from "./hub-source.ts";
import type { CommonOptions } from "./options.ts";

const largestDataset = 256 * 1024 * 1024;

/** The text of `--dataset`, through the Hub's cache. @throws UsageError for a name that is not known */
export async function readDataset(
  name: string,
  method: Method,
  flags: CommonOptions & HubFlags,
): Promise<string> {
  if (!Object.hasOwn(datasets, name) || datasets[name] === undefined) {
    throw new UsageError(`--dataset is ${quote(name)}, not ${Object.keys(datasets).join(" or ")}`, {
      hint: "give a text of your own with --text FILE",
    });
  }
  const { repo, revision, path } = datasets[name];
  const reference = { type: "dataset", id: repo, revision } as const;
  const options = readHubOptions(flags);
  const cached = new CachedRepository(options.cache, reference);
  const local = join(cached.snapshot(revision), path);
  // A commit does not change: what the cache has of it needs no asking.
  const known = await readWholeFile(local, largestDataset).catch(() => undefined);
  if (known !== undefined) return datasetText(known, method, path);
  if (options.offline) await cached.commitOffline();
  const folder = await whileFetching(flags, (signal, listener) =>
    withRepository(reference, flags, signal, (client, repository) =>
      download(client, repository, [path], signal, fetchEvents(repository, [path], listener)),
    ),
  );
  return datasetText(await readWholeFile(join(folder, path), largestDataset), method, path);
}
