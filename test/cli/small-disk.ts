import { execFileSync, spawnSync } from "node:child_process";
import type { TestContext } from "node:test";
import { scratchDirectory } from "../convert/scratch.ts";

/** Why no small file system can be mounted here; false where one can, which takes root and a system that lets it. */
export const noMount = !mountsTmpfs() && "skipped: no permission to mount a small file system";

function mountsTmpfs(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  return spawnSync("unshare", ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0;
}

/** Mounts a file system of `bytes`, until the test ends. */
export async function smallDisk(
  t: TestContext,
  bytes: number,
  ...options: readonly string[]
): Promise<string> {
  let path: string | undefined;
  // Before the hook that removes the directory, as hooks run in order.
  t.after(() => path && execFileSync("umount", [path]));
  path = await scratchDirectory(t);
  execFileSync("mount", ["-t", "tmpfs", "-o", [`size=${bytes}`, ...options].join(), "tmpfs", path]);
  return path;
}
