import { stat } from "node:fs/promises";
import { parseRepoReference, type RepoReference } from "../hub/repo-id.ts";
import type { HubFlags } from "./hub-options.ts";

/**
 * The repository that a source names; undefined for a path. What exists here is a path, whatever its name. Apart from
 * what talks to the Hub, which a run on local files need not load.
 *
 * @throws UsageError for `hf://` with what is no repository
 */
export async function repositoryOf(
  source: string,
  { revision }: HubFlags,
): Promise<RepoReference | undefined> {
  if (!source.startsWith("hf://") && (await stat(source).catch(() => undefined)) !== undefined)
    return undefined;
  return parseRepoReference(source, revision);
}
