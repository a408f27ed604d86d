import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { MachineError } from "../errors.ts";
import { quote } from "./quote.ts";

/**
 * @param another what the user can choose instead
 * @throws MachineError when the file system of a directory has less than `bytes` free.
 */
export async function refuseFullDisk(path: string, bytes: number, another = "another -o"): Promise<void> {
  const free = await freeBytes(path);
  if (free === undefined || free >= bytes) return;
  throw new MachineError(`${quote(path)} needs ${bytes} bytes, and its file system has ${free} free`, {
    hint: `free some space or choose ${another}`,
  });
}

/** Free bytes on the file system where a path is or would be; undefined where the system does not say. */
export async function freeBytes(path: string): Promise<number | undefined> {
  for (let at = resolve(path); ; at = dirname(at)) {
    const system = await statfs(at).catch(() => undefined);
    // A size of nothing, as of /proc, is no size.
    if (system) return system.blocks === 0 ? undefined : system.bavail * system.bsize;
    if (dirname(at) === at) return undefined;
  }
}
