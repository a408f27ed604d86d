import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** The user's cache directory for nestedfp. A relative XDG_CACHE_HOME counts for nothing, as XDG has it. */
export function cacheDirectory(): string {
  const { XDG_CACHE_HOME: asked = "" } = process.env;
  return join(isAbsolute(asked) ? asked : join(homedir(), ".cache"), "nestedfp");
}
