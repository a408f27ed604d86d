import type { RunSettings } from "../convert/analyse.ts";
import { refuseLargeManifest } from "../convert/converted-directory.ts";
import { type InspectResult, inspect } from "../convert/inspect.ts";
import { inspectHeaders, inspectManifest } from "../convert/inspect-headers.ts";
import { manifestName, parseManifest } from "../convert/manifest.ts";
import type { PlanOptions } from "../convert/plan.ts";
import { pathAndOrigin } from "../convert/source.ts";
import { readRange } from "../hub/read-range.ts";
import { type HubFlags, readHubOptions } from "./hub-options.ts";
import { locate, openRemote, repositoryOf, withRepository } from "./hub-source.ts";

/** One of the Hub by range requests, or offline from the cache, where weights cost nothing to read. */
export async function inspectSource(
  source: string,
  flags: HubFlags,
  plan: PlanOptions,
  settings: RunSettings,
): Promise<InspectResult> {
  const { signal, listener } = settings;
  const reference = await repositoryOf(source, flags);
  if (reference === undefined || readHubOptions(flags).offline) {
    const { path } = pathAndOrigin(await locate(source, flags, "convert", signal, listener));
    return { ...(await inspect(path, plan, settings)), source };
  }
  return withRepository(reference, flags, signal, async (client, repository) => {
    const label = `${reference.id}@${repository.commit}`;
    const manifest = repository.files.find((file) => file.path === manifestName);
    if (manifest === undefined) {
      const { shards } = await openRemote(client, repository, signal);
      return inspectHeaders(label, shards, plan);
    }
    refuseLargeManifest(manifest.size);
    const bytes = await readRange(client, repository, manifest, 0, manifest.size, signal);
    return inspectManifest(label, parseManifest(bytes, manifestName));
  });
}
