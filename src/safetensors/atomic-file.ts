import { constants, type FileHandle, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";

import { NestedFpError } from "../errors.ts";
import { outputError, systemCode } from "./system-error.ts";

/** One write(2) takes 2 GiB - 4 KiB at most. */
const maxWrite = 1 << 30;

/**
 * A file that appears under its final name complete and synced, or not at all. Until `commit` it lives under a
 * temporary name, which must be on the same file system. Failures of the file system are MachineErrors.
 */
export class AtomicFile {
  readonly tempPath: string;
  readonly #handle: FileHandle;
  #state: "open" | "closed" | "gone" = "open";

  private constructor(tempPath: string, handle: FileHandle) {
    this.tempPath = tempPath;
    this.#handle = handle;
  }

  /**
   * Creates the temporary file, in place of one that a killed run left. What lay under the name is unlinked, never
   * opened: neither a symbolic nor a hard link put there can lead the output elsewhere, nor can a FIFO block it.
   */
  static async create(tempPath: string): Promise<AtomicFile> {
    const handle = await attempt(tempPath, async () => {
      await unlink(tempPath).catch(ignoring("ENOENT"));
      return open(
        tempPath,
        constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0),
        0o666,
      );
    });
    return new AtomicFile(tempPath, handle);
  }

  /** Writes all of `bytes` at `position`. */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    await attempt(this.tempPath, async () => {
      for (let done = 0; done < bytes.length; ) {
        const length = Math.min(bytes.length - done, maxWrite);
        const { bytesWritten } = await this.#handle.write(bytes, done, length, position + done);
        done += bytesWritten;
      }
    });
  }

  /** Fills `into` from `position` with what was written before; resolves to the bytes read, fewer at the end. */
  async read(into: Uint8Array, position: number): Promise<number> {
    return attempt(this.tempPath, async () => {
      let done = 0;
      while (done < into.length) {
        const length = Math.min(into.length - done, maxWrite);
        const { bytesRead } = await this.#handle.read(into, done, length, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    });
  }

  /** Sets the length of the file. */
  async truncate(length: number): Promise<void> {
    await attempt(this.tempPath, () => this.#handle.truncate(length));
  }

  /** Syncs and closes the file, gives it its final name (a link of that name is replaced), syncs the directory. */
  async commit(finalPath: string): Promise<void> {
    await attempt(this.tempPath, () => this.#handle.sync());
    this.#state = "closed";
    await attempt(this.tempPath, () => this.#handle.close());
    await attempt(finalPath, () => rename(this.tempPath, finalPath));
    this.#state = "gone";
    await attempt(dirname(finalPath), () => syncDirectory(dirname(finalPath)));
  }

  /** Closes and removes the temporary file. Does nothing after a `commit`; may be called twice. */
  async abort(): Promise<void> {
    const state = this.#state;
    this.#state = "gone";
    if (state === "open") await this.#handle.close().catch(() => {});
    if (state !== "gone") await attempt(this.tempPath, () => unlink(this.tempPath).catch(ignoring("ENOENT")));
  }
}

/** Makes renames in a directory durable, where the system can: not on Windows, not on some network drives. */
async function syncDirectory(path: string): Promise<void> {
  const unsupported = ["EINVAL", "ENOTSUP", "EACCES", "EPERM", "EISDIR"];
  const handle = await open(path, constants.O_RDONLY).catch(ignoring(...unsupported));
  if (handle === undefined) return;
  try {
    await handle.sync().catch(ignoring(...unsupported));
  } finally {
    await handle.close();
  }
}

async function attempt<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof NestedFpError ? error : outputError(error, path);
  }
}

function ignoring(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (!codes.includes(systemCode(error))) throw error;
  };
}
