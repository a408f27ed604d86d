import type { Hash } from "node:crypto";
import { constants, type FileHandle, open } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { NestedFpError, NetworkError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { outputError } from "../safetensors/system-error.ts";
import type { HubClient } from "./client.ts";
import { failureOf } from "./client.ts";
import { contentHash } from "./content-hash.ts";
import type { RepoFile, Repository } from "./repository.ts";
import { resolveUrl } from "./repository.ts";

/** Told of bytes as they come; less than 0 when what was there had to be thrown away. */
export type OnBytes = (bytes: number) => void;

/**
 * Brings a file's content to `partialPath`, going on with what an earlier run left there, and checks it against the
 * id that the Hub lists. When this resolves, the file is complete, right and synced, still under that name.
 *
 * @throws NetworkError when the server does not give the content; MachineError when the disk does not take it
 */
export async function transfer(
  client: HubClient,
  repository: Repository,
  file: RepoFile,
  partialPath: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  // Never through a link, which could lead anywhere; in place, as another program may have begun the file.
  const flags = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);
  const handle = await disk(partialPath, open(partialPath, flags, 0o666));
  try {
    await new Transfer(client, repository, file, partialPath, handle, signal, onBytes).run();
    await disk(partialPath, handle.sync());
  } finally {
    await handle.close();
  }
}

/** One file on its way. */
class Transfer {
  readonly #client: HubClient;
  readonly #repository: Repository;
  readonly #file: RepoFile;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #signal: AbortSignal;
  readonly #onBytes: OnBytes;
  #hash: Hash;
  /** Bytes in the file that the hash has seen. */
  #done = 0;

  constructor(
    client: HubClient,
    repository: Repository,
    file: RepoFile,
    path: string,
    handle: FileHandle,
    signal: AbortSignal,
    onBytes: OnBytes,
  ) {
    this.#client = client;
    this.#repository = repository;
    this.#file = file;
    this.#path = path;
    this.#handle = handle;
    this.#signal = signal;
    this.#onBytes = onBytes;
    this.#hash = contentHash(file);
  }

  async run(): Promise<void> {
    await this.#takeUp();
    const { tries, delayMs } = this.#client.options.retry;
    let farthest = this.#done;
    for (let failures = 0; ; ) {
      const failure = this.#done < this.#file.size ? await this.#receive() : undefined;
      if (failure === undefined && (await this.#isRight())) return;
      // A server that gets a little further each time is slow, not broken.
      failures = this.#done > farthest ? 1 : failures + 1;
      farthest = Math.max(farthest, this.#done);
      const problem = failure ?? (await this.#startAgain());
      if (failures >= tries) throw this.#error(`${problem}, ${tries} times without progress`);
      await wait(delayMs * 2 ** (failures - 1), undefined, { signal: this.#signal }).catch(() => undefined);
      this.#signal.throwIfAborted();
    }
  }

  /** Hashes what an earlier run left; more than the whole file is none of its beginning. */
  async #takeUp(): Promise<void> {
    const { size } = await disk(this.#path, this.#handle.stat());
    if (size > this.#file.size) return disk(this.#path, this.#handle.truncate(0));
    const block = new Uint8Array(1 << 20);
    while (this.#done < size) {
      this.#signal.throwIfAborted();
      const { bytesRead } = await disk(this.#path, this.#handle.read(block, 0, block.length, this.#done));
      if (bytesRead === 0) return;
      this.#count(block.subarray(0, bytesRead));
    }
  }

  /** Asks for what is missing and takes what comes. @returns what went wrong, when it did */
  async #receive(): Promise<string | undefined> {
    const from = this.#done;
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (from > 0) headers.range = `bytes=${from}-`;
    const { reference, commit } = this.#repository;
    const subject = { id: reference.id, revision: commit, path: this.#file.path };
    const url = resolveUrl(this.#client, this.#repository, this.#file.path);
    // Headers and body end with one signal, so that leaving early frees the connection.
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#signal, stop.signal]);
    try {
      const response = await this.#client.request(url, { subject, signal, init: { headers } });
      const problem = await this.#fit(response, from);
      if (problem !== undefined) return problem;
      for await (const bytes of response.body ?? []) {
        if (this.#done + bytes.length > this.#file.size)
          return this.#startAgain(`more than ${this.#file.size} bytes came`);
        await this.#write(bytes);
      }
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof NestedFpError) throw error;
      return `broke off at byte ${this.#done} of ${this.#file.size} (${failureOf(error, this.#client.options.timeoutMs)})`;
    } finally {
      stop.abort();
    }
    return this.#done === this.#file.size ? undefined : `ended at byte ${this.#done} of ${this.#file.size}`;
  }

  /** Whether the body is what was asked for; a server may answer a range with the whole file. */
  async #fit(response: Response, from: number): Promise<string | undefined> {
    const { size } = this.#file;
    if (response.status === 206) {
      const range = response.headers.get("content-range") ?? "";
      if (range === `bytes ${from}-${size - 1}/${size}`) return undefined;
      return this.#startAgain(`the server sends ${quote(range)} for bytes ${from} to ${size - 1} of ${size}`);
    }
    if (from > 0) await this.#startAgain("");
    const length = response.headers.get("content-length");
    if (length === null || response.headers.has("content-encoding") || Number(length) === size)
      return undefined;
    return `the server sends ${quote(length)} bytes, the listing says ${size}`;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const at = this.#done + written;
      const { bytesWritten } = await disk(
        this.#path,
        this.#handle.write(bytes, written, bytes.length - written, at),
      );
      written += bytesWritten;
    }
    this.#count(bytes);
  }

  #count(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#done += bytes.length;
    this.#onBytes(bytes.length);
  }

  async #isRight(): Promise<boolean> {
    return this.#done === this.#file.size && this.#hash.copy().digest("hex") === this.#file.oid;
  }

  /** Throws away what is there. @returns the problem, by default that the content is wrong */
  async #startAgain(problem?: string): Promise<string> {
    const { kind, oid } = this.#file;
    const found =
      problem ?? `the content has ${kind} ${this.#hash.copy().digest("hex")}, the Hub lists ${oid}`;
    await disk(this.#path, this.#handle.truncate(0));
    this.#onBytes(-this.#done);
    this.#done = 0;
    this.#hash = contentHash(this.#file);
    return found;
  }

  #error(problem: string): NetworkError {
    const { id } = this.#repository.reference;
    return new NetworkError(`${quote(id)}: file ${quote(this.#file.path)}: ${problem}`, {
      hint: "run this again to go on; if it fails at the same place, the server or a proxy is at fault",
    });
  }
}

async function disk<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    throw outputError(error, path);
  });
}
