import { mkdir, rmdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type OutputPlace, outputError, systemCode } from "./system-error.ts";

/**
 * mkdir -p. One by one: Node's recursive mkdir reports ENOENT for a file system that is read-only, and never ends in
 * one that says ENOENT of a folder whose parent is there, as /proc does.
 *
 * @returns the directories it had to make, innermost first
 * @throws MachineError; nothing that it made stays then
 */
export async function makeDirectories(path: string, place?: OutputPlace): Promise<string[]> {
  const missing: string[] = [];
  for (
    let at = path;
    (await stat(at).catch(() => undefined)) === undefined && dirname(at) !== at;
    at = dirname(at)
  ) {
    missing.push(at);
  }
  try {
    for (const directory of missing.toReversed()) await mkdir(directory).catch(ignoreExisting);
  } catch (error) {
    for (const directory of missing) await rmdir(directory).catch(() => undefined);
    throw outputError(error, path, place);
  }
  return missing;
}

/** Another run may have made it meanwhile. */
function ignoreExisting(error: unknown): void {
  if (systemCode(error) !== "EEXIST") throw error;
}
