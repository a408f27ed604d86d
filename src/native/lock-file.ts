import type { FileHandle } from "node:fs/promises";
import { constants, open, stat } from "node:fs/promises";

import { tryLock } from "./addon.ts";

// Neither through a link, nor waiting for whoever may read a pipe of that name.
const flags =
  constants.O_WRONLY | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * Makes a file where there is none and locks it until the handle is closed: a lock dies with its process. Remove the
 * file before closing it.
 *
 * @returns undefined when another run holds the lock
 * @throws MachineError when the addon cannot be loaded; the system's error, e.g. where there are no locks
 */
export async function lockFile(
  path: string,
  lock: (fd: number) => boolean = tryLock,
): Promise<FileHandle | undefined> {
  const handle = await open(path, flags);
  try {
    if (lock(handle.fd) && (await isAt(handle, path))) return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return undefined;
}

/** A run that just ended may have removed the file between our open and our lock; the next one makes another. */
async function isAt(handle: FileHandle, path: string): Promise<boolean> {
  const [held, onDisk] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
  return held.ino === onDisk?.ino && held.dev === onDisk.dev;
}
