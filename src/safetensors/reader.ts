import type { Stats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { basename } from "node:path";

import { FormatError } from "../errors.ts";
import { parseHeader, type SafetensorsHeader, type TensorInfo } from "./header.ts";
import { openInput, readFully } from "./input-file.ts";
import { quote } from "./quote.ts";

export { readWholeFile } from "./input-file.ts";

/** The limit of the safetensors library. */
const maxHeader = 100_000_000;

export type ShardOptions = {
  /** Keep the file open between reads (default). False opens it for each read, for checkpoints of many shards. */
  readonly keepOpen?: boolean;
};

/**
 * Opens a safetensors file and validates its header; no tensor data is read.
 * @param label the name that errors about the content show (default: the file name)
 * @throws FormatError when it cannot be read, is no regular file, or breaks a rule of FORMAT.md §9
 */
export async function openShard(
  path: string,
  label = basename(path),
  options: ShardOptions = {},
): Promise<Shard> {
  const { handle, stats } = await openInput(path);
  let keep = false;
  try {
    const header = await readHeader(handle, path, label, stats.size);
    keep = options.keepOpen ?? true;
    return new Shard(path, label, stats, header, keep ? handle : undefined);
  } finally {
    if (!keep) await handle.close();
  }
}

/** One open safetensors file: its header, and lazy reads of ranges. */
export class Shard {
  readonly path: string;
  /** Shown in errors. */
  readonly name: string;
  /** Bytes of the file. */
  readonly size: number;
  readonly header: SafetensorsHeader;
  readonly #opened: Stats;
  #handle: FileHandle | undefined;

  /** Use {@link openShard}. */
  constructor(
    path: string,
    name: string,
    stats: Stats,
    header: SafetensorsHeader,
    handle: FileHandle | undefined,
  ) {
    this.path = path;
    this.name = name;
    this.size = stats.size;
    this.header = header;
    this.#opened = stats;
    this.#handle = handle;
  }

  /** The first 8 + N bytes, verbatim. */
  async rawHeader(): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.header.headerBytes);
    await this.read(0, bytes);
    return bytes;
  }

  /**
   * Fills `into` with the bytes of the file from offset `start`.
   * @throws FormatError when the file was truncated or replaced meanwhile; RangeError past the end of the file
   */
  async read(start: number, into: Uint8Array): Promise<void> {
    if (start < 0 || start + into.length > this.size) {
      throw new RangeError(
        `read of ${into.length} bytes at ${start} in ${quote(this.name)} of ${this.size} bytes`,
      );
    }
    if (this.#handle !== undefined) return readFully(this.#handle, this.path, start, into);
    const { handle, stats } = await openInput(this.path);
    try {
      if (!sameFile(stats, this.#opened)) {
        throw new FormatError(`${quote(this.path)} was changed while it was read`, {
          hint: "wait until nothing writes to it any more, then run this again",
        });
      }
      await readFully(handle, this.path, start, into);
    } finally {
      await handle.close();
    }
  }

  /** Fills `into` with the bytes of a tensor of this file, from byte `from` of the tensor. @throws as `read` */
  async readTensor(info: TensorInfo, from: number, into: Uint8Array): Promise<void> {
    const [begin, end] = info.dataOffsets;
    if (from < 0 || begin + from + into.length > end) {
      throw new RangeError(
        `read of ${into.length} bytes at ${from} in tensor ${quote(info.name)} of ${end - begin} bytes`,
      );
    }
    await this.read(this.header.headerBytes + begin + from, into);
  }

  /** Closes the file; may be called twice. */
  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }
}

function sameFile(a: Stats, b: Stats): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs;
}

async function readHeader(
  handle: FileHandle,
  path: string,
  label: string,
  size: number,
): Promise<SafetensorsHeader> {
  const refuse = (problem: string, hint: string) => new FormatError(`${quote(label)}: ${problem}`, { hint });
  if (size < 8) {
    throw refuse(
      size === 0 ? "the file is empty" : `the file has ${size} bytes, a safetensors file has at least 8`,
      truncated,
    );
  }
  const prefix = Buffer.alloc(8);
  await readFully(handle, path, 0, prefix);
  const length = prefix.readBigUInt64LE();
  if (length > maxHeader) {
    throw refuse(`header length ${length} exceeds the limit of ${maxHeader}`, otherFormat(prefix));
  }
  const headerBytes = 8 + Number(length);
  if (headerBytes > size) {
    throw refuse(
      `header length ${length} exceeds the ${size - 8} bytes that follow it in the file`,
      truncated,
    );
  }
  const json = new Uint8Array(headerBytes - 8);
  await readFully(handle, path, 8, json);
  return parseHeader(json, size - headerBytes, label);
}

const truncated = "the file is truncated or is no safetensors file: download it again";

/** What a file that is no safetensors file most often is. */
function otherFormat(prefix: Buffer): string {
  const start = prefix.toString("latin1");
  if (start === "version ") return "this is a Git LFS pointer, not the file itself: run `git lfs pull`";
  if (start.startsWith("GGUF")) return "this is a GGUF file: use the safetensors checkpoint it was made from";
  if (start.startsWith("PK\x03\x04")) return "this is a PyTorch file: save the model as safetensors first";
  if (start.startsWith("<")) return "this is a web page, not a checkpoint: download the file again";
  return "this is no safetensors file, or a damaged one: download it again";
}
