import type { Stats } from "node:fs";
import { constants, type FileHandle, open } from "node:fs/promises";

import { FormatError } from "../errors.ts";
import { quote } from "./quote.ts";
import { inputError } from "./system-error.ts";

/** One read(2) takes 2 GiB - 4 KiB at most. */
const maxRead = 1 << 30;

/**
 * Opens a regular file, or a link to one, for reading. Anything else is refused: a directory, a device, a socket,
 * and a FIFO, which a plain open would wait on for ever (hence O_NONBLOCK).
 * @throws FormatError with the path and the system's reason
 */
export async function openInput(path: string): Promise<{ handle: FileHandle; stats: Stats }> {
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(
    (error: unknown) => {
      throw inputError(error, path);
    },
  );
  try {
    const stats = await handle.stat().catch((error: unknown) => {
      throw inputError(error, path);
    });
    if (!stats.isFile()) {
      throw new FormatError(`${quote(path)} is a ${kindOf(stats)}, not a regular file`, {
        hint: "name a regular file or a link to one",
      });
    }
    return { handle, stats };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Fills `into` with the bytes from `start`.
 * @throws FormatError when the file ends before that or cannot be read
 */
export async function readFully(
  handle: FileHandle,
  path: string,
  start: number,
  into: Uint8Array,
): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const want = Math.min(into.length - done, maxRead);
    const { bytesRead } = await handle.read(into, done, want, start + done).catch((error: unknown) => {
      throw inputError(error, path);
    });
    if (bytesRead === 0) {
      throw new FormatError(
        `${quote(path)} ends at byte ${start + done}, but ${start + into.length} bytes were expected`,
        { hint: "the file was truncated or replaced while it was read" },
      );
    }
    done += bytesRead;
  }
}

/**
 * Reads a small file whole.
 * @param maxBytes a larger file is refused before anything is allocated
 * @throws FormatError
 */
export async function readWholeFile(path: string, maxBytes: number): Promise<Uint8Array> {
  const { handle, stats } = await openInput(path);
  try {
    if (stats.size > maxBytes) {
      throw new FormatError(`${quote(path)} has ${stats.size} bytes, more than the limit of ${maxBytes}`, {
        hint: "this is not a file of the kind that its name says",
      });
    }
    const bytes = new Uint8Array(stats.size);
    await readFully(handle, path, 0, bytes);
    return bytes;
  } finally {
    await handle.close();
  }
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "directory";
  if (stats.isFIFO()) return "FIFO";
  return stats.isCharacterDevice() || stats.isBlockDevice() ? "device" : "special file";
}
