import type { RunSettings } from "../convert/analyse.ts";
import { refuseLargeManifest } from "../convert/converted-directory.ts";
import { type InspectResult, inspect } from "../convert/inspect.ts";
import { inspectHeaders, inspectManifest } from "../convert/inspect-headers.ts";
import { manifestName, parseManifest } from "../convert/manifest.ts";
import type { PlanOptions } from "../convert/plan.ts";
import { readRange } from "../hub/read-range.ts";
import type { RepoReference } from "../hub/repo-id.ts";
import { type HubFlags, readHubOptions } from "./hub-options.ts";
import { locate, openRemote, withRepository } from "./hub-source.ts";

/** By range requests; offline from the cache, where weights cost nothing to read. */
export async function inspectRepository(
  reference: RepoReference,
  flags: HubFlags,
  plan: PlanOptions,
  settings: RunSettings,
): Promise<InspectResult> {
  const { signal, listener } = settings;
  if (readHubOptions(flags).offline) {
    const { path, origin } = await locate(reference, flags, "convert", signal, listener);
    return { ...(await inspect(path, plan, settings)), source: `${origin.repo}@${origin.revision}` };
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
