import { MachineError } from "../errors.ts";
import { AtomicFile } from "./atomic-file.ts";
import { ByteRanges } from "./byte-ranges.ts";
import type { HeaderLayout, TensorInfo } from "./header.ts";
import { quote } from "./quote.ts";

export { AtomicFile } from "./atomic-file.ts";

/** A running hash. An `update` is done with its bytes when its promise settles. */
export type Digest = {
  update(bytes: Uint8Array): Promise<void>;
  /** Lower-case hexadecimal. */
  digest(): Promise<string>;
};

export type WrittenFile = { readonly size: number; readonly sha256: string };

const readBackBytes = 4 << 20;

/**
 * Writes one safetensors file under a temporary name, tensors in blocks in any order, several at a time if the
 * caller likes. It is hashed on the way: a block that lands exactly where the hash has come to is hashed from
 * memory, the rest is read back at the end. So blocks in file order cost no second pass over the data.
 *
 * Misuse (an unknown tensor, bytes outside a tensor or written twice, `finish` before all is written) is a
 * RangeError; failures of the file system are MachineErrors. After either, call `abort`.
 */
export class TensorFileWriter {
  /** Bytes of the finished file. */
  readonly size: number;
  readonly tensors: readonly TensorInfo[];
  readonly #file: AtomicFile;
  readonly #digest: Digest;
  readonly #headerBytes: number;
  readonly #byName: ReadonlyMap<string, TensorInfo>;
  readonly #claimed = new ByteRanges();
  /** Blocks whose write has not succeeded: in flight, or failed. */
  #unwritten = 0;
  /** Where the hash has come to, counting updates that are queued. */
  #hashCursor = 0;
  #hashing: Promise<void> = Promise.resolve();

  private constructor(file: AtomicFile, layout: HeaderLayout, digest: Digest) {
    this.#file = file;
    this.#digest = digest;
    this.#headerBytes = layout.bytes.length;
    this.tensors = layout.tensors;
    this.#byName = new Map(layout.tensors.map((tensor) => [tensor.name, tensor]));
    this.size = layout.tensors.reduce(
      (size, tensor) => Math.max(size, this.#headerBytes + tensor.dataOffsets[1]),
      this.#headerBytes,
    );
  }

  /**
   * Creates the temporary file and writes the header.
   * @param layout from `serializeHeader`, or the raw header and the tensors of a file that is rebuilt
   */
  static async create(tempPath: string, layout: HeaderLayout, digest: Digest): Promise<TensorFileWriter> {
    const file = await AtomicFile.create(tempPath);
    const writer = new TensorFileWriter(file, layout, digest);
    try {
      await writer.#writeAt(0, layout.bytes);
    } catch (error) {
      await file.abort();
      throw error;
    }
    return writer;
  }

  /** Writes a block of a tensor; `bytes` may be reused when the promise settles. */
  async writeTensor(name: string, offsetInTensor: number, bytes: Uint8Array): Promise<void> {
    const info = this.#byName.get(name);
    if (info === undefined) throw new RangeError(`tensor ${quote(name)} is not in the header of this file`);
    const [begin, end] = info.dataOffsets;
    if (offsetInTensor < 0 || begin + offsetInTensor + bytes.length > end) {
      throw new RangeError(
        `write of ${bytes.length} bytes at ${offsetInTensor} in tensor ${quote(name)} of ${end - begin} bytes`,
      );
    }
    await this.#writeAt(this.#headerBytes + begin + offsetInTensor, bytes);
  }

  /** Whether all bytes of all tensors are written. */
  get complete(): boolean {
    return this.#unwritten === 0 && this.#claimed.covers(0, this.size);
  }

  /** Checks that the file is complete and hashes what is not hashed yet. It can be read under its temporary name. */
  async seal(): Promise<WrittenFile> {
    if (!this.complete) {
      const missing = this.#claimed.firstMissing(0);
      throw new RangeError(
        this.#unwritten > 0
          ? `${this.#unwritten} writes to ${quote(this.#file.tempPath)} failed or are still going on`
          : `byte ${missing} of ${this.size} of ${quote(this.#file.tempPath)} was never written`,
      );
    }
    await this.#hashing;
    await this.#hashRest();
    return { size: this.size, sha256: await this.#digest.digest() };
  }

  /** Syncs a sealed file and gives it its final name. */
  async commit(finalPath: string): Promise<void> {
    await this.#file.commit(finalPath);
  }

  /** `seal` and `commit` at once. */
  async finish(finalPath: string): Promise<WrittenFile> {
    const written = await this.seal();
    await this.commit(finalPath);
    return written;
  }

  /** Removes the temporary file; does nothing after `finish`. */
  async abort(): Promise<void> {
    await this.#file.abort();
  }

  async #writeAt(position: number, bytes: Uint8Array): Promise<void> {
    const end = position + bytes.length;
    if (!this.#claimed.add(position, end)) {
      throw new RangeError(`bytes ${position} to ${end} of ${quote(this.#file.tempPath)} are written twice`);
    }
    this.#unwritten++;
    const written = this.#file.write(bytes, position);
    if (position === this.#hashCursor) {
      this.#hashCursor = end;
      // Queued: the next block in order may come before this update is done.
      this.#hashing = this.#hashing.then(() => this.#digest.update(bytes));
      await settleAll([written, this.#hashing]);
    } else {
      await written;
    }
    this.#unwritten--;
  }

  async #hashRest(): Promise<void> {
    const block = new Uint8Array(Math.min(readBackBytes, this.size - this.#hashCursor));
    while (this.#hashCursor < this.size) {
      const want = block.subarray(0, Math.min(block.length, this.size - this.#hashCursor));
      const got = await this.#file.read(want, this.#hashCursor);
      if (got < want.length) {
        throw new MachineError(`${quote(this.#file.tempPath)} was truncated while it was written`, {
          hint: "another process writes to this output directory",
        });
      }
      await this.#digest.update(want);
      this.#hashCursor += got;
    }
  }
}

/** As Promise.all, but rejects only when none is at work any more, as the caller then reuses the buffer. */
async function settleAll(promises: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === "rejected") throw result.reason;
  }
}
