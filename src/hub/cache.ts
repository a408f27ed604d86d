import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  constants,
  copyFile,
  lstat,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { MachineError, NetworkError } from "../errors.ts";
import { lockFile } from "../native/lock-file.ts";
import { makeDirectories } from "../safetensors/make-directories.ts";
import { quote } from "../safetensors/quote.ts";
import { outputError, systemCode } from "../safetensors/system-error.ts";
import { AtomicFile } from "../safetensors/writer.ts";
import { contentHash } from "./content-hash.ts";
import type { RepoReference } from "./repo-id.ts";
import { isCommit } from "./repo-id.ts";
import type { RepoFile, Repository } from "./repository.ts";

/** Between two looks at a lock that another process holds, and after how many of them the user is told. */
const waitMs = 100;
const silentWaits = 50;

/**
 * The folder of one repository in the cache of the Python tools: contents in `blobs/` under the id that the Hub
 * lists, `refs/` from revision to commit, and per commit a folder of `snapshots/` with relative links to blobs.
 */
export class CachedRepository {
  readonly #cache: string;
  readonly #name: string;
  readonly #reference: RepoReference;

  constructor(cache: string, reference: RepoReference) {
    this.#cache = cache;
    this.#reference = reference;
    this.#name = `${reference.type}s--${reference.id.replace("/", "--")}`;
  }

  get root(): string {
    return join(this.#cache, this.#name);
  }

  snapshot(commit: string): string {
    return join(this.root, "snapshots", commit);
  }

  blobPath(file: RepoFile): string {
    return join(this.root, "blobs", file.oid);
  }

  /** Where a content lies until it is whole. */
  partialPath(file: RepoFile): string {
    return `${this.blobPath(file)}.incomplete`;
  }

  /**
   * Whether the content is there whole. What is called so was checked when it came; small files are checked again,
   * and large ones are hashed by who reads them.
   */
  async has(file: RepoFile): Promise<boolean> {
    const path = this.blobPath(file);
    const status = await stat(path).catch(() => undefined);
    if (status?.isFile() !== true || status.size !== file.size) return false;
    if (file.kind === "sha256") return true;
    const hash = contentHash(file);
    for await (const part of createReadStream(path)) hash.update(part);
    return hash.digest("hex") === file.oid;
  }

  /** What is yet to come of some files: a content once, and less by what an earlier run left of it. */
  async missingBytes(files: readonly RepoFile[]): Promise<number> {
    const contents = new Map(files.map((file) => [file.oid, file]));
    let bytes = 0;
    for (const file of contents.values()) {
      if (await this.has(file)) continue;
      const begun = (await stat(this.partialPath(file)).catch(() => undefined))?.size ?? 0;
      bytes += Math.max(0, file.size - begun);
    }
    return bytes;
  }

  /**
   * Holds the lock of a content, the one that the Python tools take too, while `work` runs.
   *
   * @param onWait told the path of the lock, once, when another process has held it for some seconds
   * @throws MachineError when it cannot be taken
   */
  async locked<T>(
    file: RepoFile,
    signal: AbortSignal,
    onWait: (path: string) => void,
    work: () => Promise<T>,
  ): Promise<T> {
    await makeFolder(this.#cache, join(".locks", this.#name));
    await makeFolder(this.#cache, join(this.#name, "blobs"));
    const path = join(this.#cache, ".locks", this.#name, `${file.oid}.lock`);
    const take = () =>
      lockFile(path).catch((error) => {
        throw error instanceof MachineError ? error : outputError(error, path);
      });
    let lock = await take();
    for (let waits = 1; lock === undefined; lock = await take(), waits++) {
      if (waits === silentWaits) onWait(path);
      await wait(waitMs, undefined, { signal }).catch(() => undefined);
      signal.throwIfAborted();
    }
    try {
      return await work();
    } finally {
      await lock.close();
    }
  }

  /** Gives a complete partial file the name of its content. @throws MachineError */
  async adopt(file: RepoFile, partialPath: string): Promise<void> {
    const path = this.blobPath(file);
    await rename(partialPath, path).catch((error) => {
      throw outputError(error, path);
    });
  }

  /** Puts a content into the snapshot of a commit. @throws MachineError */
  async link(file: RepoFile, { commit }: Pick<Repository, "commit">): Promise<void> {
    const path = join(this.snapshot(commit), file.path);
    const target = relative(dirname(path), this.blobPath(file));
    if ((await readlink(path).catch(() => undefined)) === target) return;
    await makeFolder(this.#cache, join(this.#name, "snapshots", commit, dirname(file.path)));
    // Not beside its name: what a kill leaves there would be a file of the repository to who reads it offline.
    const temporary = join(this.root, `.${randomUUID()}.tmp`);
    try {
      // Where links are not allowed, as on Windows, the Python tools keep a copy.
      await symlink(target, temporary).catch(() =>
        copyFile(this.blobPath(file), temporary, constants.COPYFILE_EXCL),
      );
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw outputError(error, path);
    }
  }

  /** Remembers which commit a revision was. @throws MachineError */
  async keepRef(commit: string): Promise<void> {
    const { revision } = this.#reference;
    if (isCommit(revision)) return;
    const path = join(this.root, "refs", revision);
    if ((await readFile(path, "utf8").catch(() => "")) === commit) return;
    await makeFolder(this.#cache, join(this.#name, "refs"));
    await this.#clearRef(revision);
    await makeFolder(this.#cache, join(this.#name, "refs", dirname(revision)));
    const file = await AtomicFile.create(join(this.root, "refs", `.${randomUUID()}.tmp`));
    try {
      await file.write(Buffer.from(commit), 0);
      await file.commit(path);
    } catch (error) {
      await file.abort();
      throw error;
    }
  }

  /**
   * Forgets what cannot be remembered beside a revision, as `a` beside `a/b`: no two branches are called so at a time.
   *
   * @throws MachineError
   */
  async #clearRef(revision: string): Promise<void> {
    const parts = revision.split("/");
    for (const [i] of parts.entries()) {
      const path = join(this.root, "refs", ...parts.slice(0, i + 1));
      const status = await lstat(path).catch(() => undefined);
      const isInTheWay = i + 1 === parts.length ? status?.isDirectory() : status?.isFile();
      if (!isInTheWay) continue;
      await rm(path, { recursive: true, force: true }).catch((error) => {
        throw outputError(error, path);
      });
    }
  }

  /** The commit of the revision by what the cache remembers. @throws NetworkError when it does not */
  async commitOffline(): Promise<string> {
    const { id, revision } = this.#reference;
    const ref = isCommit(revision)
      ? revision
      : await readFile(join(this.root, "refs", revision), "utf8").catch(() => "");
    const commit = ref.trim();
    const found =
      isCommit(commit) && (await stat(this.snapshot(commit)).catch(() => undefined))?.isDirectory();
    if (found) return commit;
    throw new NetworkError(
      `${quote(id)} at ${quote(revision)} is not in the cache ${quote(this.#cache)}, and this run is offline`,
      {
        hint: "run it once without --offline and HF_HUB_OFFLINE",
      },
    );
  }
}

/**
 * mkdir -p of a path below `base`; the part below it must not go through links. Called before something is written,
 * not sooner: a cache that lacks nothing may be read-only, or a link.
 *
 * @throws MachineError
 */
async function makeFolder(base: string, below: string): Promise<void> {
  try {
    await makeDirectories(base);
    let at = base;
    for (const part of below.split(/[\\/]/)) {
      at = join(at, part);
      await mkdir(at).catch((error) => {
        if (systemCode(error) !== "EEXIST") throw error;
      });
      const status = await lstat(at);
      if (status.isDirectory()) continue;
      const why = status.isSymbolicLink() ? ", and the cache is never written through a link" : "";
      throw new MachineError(`${quote(at)} is no folder${why}`, { hint: "move it out of the cache" });
    }
  } catch (error) {
    throw error instanceof MachineError ? error : outputError(error, join(base, below));
  }
}
