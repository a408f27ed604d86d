import { homedir } from "node:os";
import { join } from "node:path";

/** The user's cache directory for nestedfp (XDG base directories). */
export function cacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "nestedfp");
}
