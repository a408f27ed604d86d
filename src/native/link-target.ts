import { readlink, realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";

// As many as Linux follows.
const mostLinks = 40;

/** Where a file of this name would be written: behind symbolic links, also those that lead to nothing yet. */
export async function linkTarget(path: string): Promise<string> {
  let place = path;
  for (let links = 0; links < mostLinks; links++) {
    const target = await readlink(place).catch(() => undefined);
    if (target === undefined) break;
    place = resolve(dirname(place), target);
  }
  return realpath(place).catch(() => place);
}
