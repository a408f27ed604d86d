import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { MachineError } from "../errors.ts";

/**
 * The user's cache directory for nestedfp. A relative XDG_CACHE_HOME counts for nothing, as XDG has it.
 * @throws MachineError without a home directory to put it in: in the working directory nobody would look for it
 */
export function cacheDirectory(): string {
  const { XDG_CACHE_HOME: asked = "" } = process.env;
  if (isAbsolute(asked)) return join(asked, "nestedfp");
  const home = homedir();
  if (isAbsolute(home)) return join(home, ".cache", "nestedfp");
  throw new MachineError(`the home directory is ${JSON.stringify(home)}, which is no absolute path`, {
    hint: "set HOME, or XDG_CACHE_HOME to where the cache may be",
  });
}
