import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { lstat, mkdir, readdir, readFile, rename, rm, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { NestedFpError, UsageError } from "../errors.ts";
import { lockFile } from "../native/lock-file.ts";
import { makeDirectories } from "../safetensors/make-directories.ts";
import { quote } from "../safetensors/quote.ts";
import { outputError, systemCode } from "../safetensors/system-error.ts";
import { AtomicFile } from "../safetensors/writer.ts";

/** Everything unfinished lives here; on the same file system as the final names. */
const workFolder = ".nestedfp";

/**
 * What to do with a directory that is not empty: `new` refuses it; `resume` goes on with what an earlier run of
 * this tool left; `force` replaces what it holds under the names that are written.
 */
export type ExistingPolicy = "new" | "resume" | "force";

/** The commands that fill a directory. */
export type WritingCommand = "convert" | "restore" | "export";

/** Names the command whose files stand here; no .json, as it outlives the records of a run. */
const commandName = "command";

/**
 * A directory that is filled so that a kill at any moment leaves only complete files under final names. Files are
 * written to `DIR/.nestedfp/` and renamed when synced. One process at a time: the lock dies with its process.
 */
export class OutputDirectory {
  readonly path: string;
  readonly #lock: FileHandle;
  /** Directories that this run made, innermost first. */
  readonly #created: readonly string[];
  /** Whether an unfinished run was found here. */
  readonly foundWork: boolean;
  /** The command whose unfinished files were found here; undefined where it is not known. */
  readonly foundCommand: WritingCommand | undefined;
  readonly #command: WritingCommand;
  /** Names that this run gave. */
  readonly #placed: string[] = [];
  readonly #policy: ExistingPolicy;

  private constructor(
    path: string,
    lock: FileHandle,
    found: Found & { readonly created: readonly string[] },
    policy: ExistingPolicy,
    command: WritingCommand,
  ) {
    this.path = path;
    this.#lock = lock;
    this.#created = found.created;
    this.foundWork = found.work;
    this.foundCommand = found.command;
    this.#policy = policy;
    this.#command = command;
  }

  /**
   * Creates or enters the directory and locks it.
   *
   * @throws UsageError when it is not empty under `new`, locked by another run, or another command's under `resume`.
   * @throws MachineError when the system refuses.
   */
  static async open(path: string, policy: ExistingPolicy, command: WritingCommand): Promise<OutputDirectory> {
    await refuseNonEmpty(path, policy);
    await refuseLinks(path);
    const work = await isUnfinished(path);
    const created = await makeDirectories(join(resolve(path), workFolder));
    const lock = await acquireLock(path).catch(async (error) => {
      await removeEmpty(created);
      throw error;
    });
    const found = { work, command: await readCommand(path), created };
    if (policy === "resume" && found.command !== undefined && found.command !== command) {
      await lock.close();
      throw new UsageError(
        `${quote(path)} holds an unfinished ${found.command}, which ${command} cannot resume`,
        {
          hint: `choose another -o, or run that ${found.command} again with --force`,
        },
      );
    }
    const directory = new OutputDirectory(path, lock, found, policy, command);
    await directory.#removeTemporary();
    return directory;
  }

  /**
   * Records that from now on files of this command stand under final names. Before the first is placed, and after
   * what may be another's is gone: a later run believes it.
   */
  async claim(): Promise<void> {
    const path = this.recordPath(commandName);
    await writeAtomically(`${path}.tmp`, path, Buffer.from(this.#command));
  }

  /** The path of a scratch file that survives a kill, e.g. the record of a finished shard. */
  recordPath(name: string): string {
    return join(this.path, workFolder, name);
  }

  /** Where the file that will be called `name` (may contain a folder) is written. */
  temporaryPath(name: string): string {
    // A digest, as ".tmp" after a name of 255 bytes would be longer than a file system takes.
    const digest = createHash("sha256").update(name).digest("hex").slice(0, 16);
    return join(this.path, workFolder, `${digest}.tmp`);
  }

  finalPath(name: string): string {
    return join(this.path, name);
  }

  /** Runs `commit`, which renames a finished temporary file to the final path it is given. */
  async place(name: string, commit: (finalPath: string) => Promise<void>): Promise<void> {
    const final = this.finalPath(name);
    await wrap(final, mkdir(dirname(final), { recursive: true }));
    try {
      await commit(final);
    } finally {
      // Also a commit that fails may have given the name: what it does after that is to make it durable.
      if ((await lstat(final).catch(() => undefined)) !== undefined) this.#placed.push(name);
    }
  }

  /** Renames a finished temporary file, e.g. a hard link. */
  async placeFile(name: string, temporaryPath: string): Promise<void> {
    await this.place(name, (final) => wrap(final, rename(temporaryPath, final)));
  }

  /** Writes a small file whole, through a temporary one. */
  async writeFile(name: string, bytes: Uint8Array): Promise<void> {
    await this.place(name, (final) => writeAtomically(this.temporaryPath(name), final, bytes));
  }

  /** Keeps a small record of progress in the work folder. */
  async writeRecord(name: string, value: unknown): Promise<void> {
    const path = this.recordPath(name);
    await writeAtomically(`${path}.tmp`, path, Buffer.from(JSON.stringify(value)));
  }

  /** Forgets the records of an earlier run. */
  async removeRecords(): Promise<void> {
    const folder = join(this.path, workFolder);
    for (const name of await wrap(folder, readdir(folder))) {
      if (name.endsWith(".json")) await wrap(folder, rm(join(folder, name)));
    }
  }

  /** The directory is complete: removes the work folder and the lock with it. */
  async finish(): Promise<void> {
    await wrap(this.path, rm(join(this.path, workFolder), { recursive: true, force: true }));
    await this.#lock.close();
  }

  /**
   * The run ends without a result. Temporary files go. What can be resumed stays: the records of an interrupted
   * run, of one that placed files, and of an earlier run found here; otherwise nothing is left of this one.
   */
  async abandon(interrupted: boolean): Promise<void> {
    await this.#removeTemporary().catch(() => undefined);
    if (!interrupted && this.#placed.length === 0 && !this.foundWork) {
      await rm(join(this.path, workFolder), { recursive: true, force: true }).catch(() => undefined);
      await removeEmpty(this.#created);
    }
    await this.#lock.close();
  }

  /**
   * As {@link abandon}, for a run that cannot be resumed: nothing that it placed stays either, unless files of
   * other origin were here, which it may have replaced.
   */
  async undo(): Promise<void> {
    await this.#removeTemporary().catch(() => undefined);
    await rm(join(this.path, workFolder), { recursive: true, force: true }).catch(() => undefined);
    if (this.#policy === "new") {
      for (const name of this.#placed) await rm(this.finalPath(name), { force: true }).catch(() => undefined);
      await rmdir(join(this.path, "nestedfp", "source")).catch(() => undefined);
      await rmdir(join(this.path, "nestedfp")).catch(() => undefined);
      await removeEmpty(this.#created);
    }
    await this.#lock.close();
  }

  async #removeTemporary(): Promise<void> {
    const folder = join(this.path, workFolder);
    for (const name of await readdir(folder)) {
      if (name.endsWith(".tmp")) await wrap(folder, rm(join(folder, name), { recursive: true, force: true }));
    }
  }
}

type Found = { readonly work: boolean; readonly command: WritingCommand | undefined };

/** True when the directory holds the work folder of an unfinished run. */
export async function isUnfinished(path: string): Promise<boolean> {
  return (await lstat(join(path, workFolder)).catch(() => undefined))?.isDirectory() ?? false;
}

async function readCommand(path: string): Promise<WritingCommand | undefined> {
  const text = await readFile(join(path, workFolder, commandName), "utf8").catch(() => undefined);
  return text === "convert" || text === "restore" || text === "export" ? text : undefined;
}

/** @throws UsageError when what stands at a path is not to be written to, as far as can be seen without making anything */
export async function refuseNonEmpty(path: string, policy: ExistingPolicy): Promise<void> {
  const status = await stat(path).catch((error) => {
    if (systemCode(error) === "ENOENT") return undefined;
    throw outputError(error, path);
  });
  if (status === undefined) return;
  if (!status.isDirectory()) {
    throw new UsageError(`${quote(path)} is a file, not a directory`, {
      hint: "give -o the name of a directory",
    });
  }
  if (policy !== "new") return;
  const first = (await wrap(path, readdir(path)))[0];
  if (first === undefined) return;
  const unfinished = await isUnfinished(path);
  // A run that is still going on deserves its own message: taking its lock fails with it.
  if (unfinished) await (await acquireLock(path)).close();
  throw new UsageError(
    unfinished
      ? `${quote(path)} holds an unfinished run`
      : `${quote(path)} exists and is not empty (it holds ${quote(first)})`,
    {
      hint: unfinished
        ? "--force starts again; a conversion also goes on with --resume"
        : "choose another -o, or replace it with --force",
    },
  );
}

/** @throws UsageError when a folder that is written to is a link: it could lead anywhere. */
async function refuseLinks(path: string): Promise<void> {
  for (const folder of [workFolder, "nestedfp", "nestedfp/source"].map((name) => join(path, name))) {
    if (!(await lstat(folder).catch(() => undefined))?.isSymbolicLink()) continue;
    throw new UsageError(`${quote(folder)} is a symbolic link, and output is never written through one`, {
      hint: "remove it or choose another -o",
    });
  }
}

async function acquireLock(path: string): Promise<FileHandle> {
  const lockPath = join(path, workFolder, "lock");
  const handle = await wrap(lockPath, lockFile(lockPath));
  if (handle !== undefined) return handle;
  throw new UsageError(`${quote(path)} is being written by another run of nestedfp`, {
    hint: "wait until it ends; a run that was killed holds no lock",
  });
}

async function writeAtomically(temporary: string, final: string, bytes: Uint8Array): Promise<void> {
  const file = await AtomicFile.create(temporary);
  try {
    await file.write(bytes, 0);
    await file.commit(final);
  } catch (error) {
    await file.abort();
    throw error;
  }
}

async function removeEmpty(directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    if (directory.endsWith(workFolder)) await unlink(join(directory, "lock")).catch(() => undefined);
    await rmdir(directory).catch(() => undefined);
  }
}

async function wrap<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    throw error instanceof NestedFpError ? error : outputError(error, path);
  });
}
