import type { RowScan, SourceDtype } from "../codec/codec.ts";
import { shiftOutOfRange } from "../codec/codec.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import type { Shard } from "../safetensors/reader.ts";
import type { Piece } from "./pieces.ts";
import { endsRow, piecesOf, readAhead } from "./pieces.ts";
import type { TensorScan } from "./plan.ts";
import type { RunContext } from "./run-context.ts";

/** What one pass over a tensor's bytes found. */
export type ScannedTensor = {
  readonly name: string;
  /** CRC-32 of the tensor's bytes. */
  readonly crc32: number;
  /** Only for F16, BF16 and F32. */
  readonly floats: TensorScan | undefined;
  /** The shift of every row, for a candidate with at least one row that needs one. */
  readonly shifts: Uint8Array | undefined;
};

export type ShardScan = {
  readonly file: string;
  readonly size: number;
  readonly sha256: string;
  /** Of the first 8 + N bytes. */
  readonly headerSha256: string;
  readonly tensors: readonly ScannedTensor[];
};

/** Whether the row shifts of a tensor may be needed. */
export type IsCandidate = (tensor: TensorInfo) => boolean;

/** Reads a source shard once: hashes it, and measures its float tensors row by row. */
export async function scanShard(
  shard: Shard,
  isCandidate: IsCandidate,
  context: RunContext,
): Promise<ShardScan> {
  const { codec, buffers, onBytes } = context;
  const whole = codec.sha256();
  const rawHeader = await shard.rawHeader();
  const headerHash = codec.sha256();
  await Promise.all([whole.update(rawHeader), headerHash.update(rawHeader)]);
  onBytes(rawHeader.length);

  const scans = new Map(
    shard.header.tensors.map((info) => [info.name, new RunningScan(shard, info, isCandidate(info), context)]),
  );
  for await (const { piece, bytes } of readAhead(shard, allPieces(shard, buffers.blockBytes), context)) {
    const scan = scans.get(piece.tensor.name);
    await Promise.all([whole.update(bytes), scan?.add(piece, bytes)]);
    onBytes(bytes.length);
  }
  return {
    file: shard.name,
    size: shard.size,
    sha256: await whole.digest(),
    headerSha256: await headerHash.digest(),
    tensors: [...scans.values()].map((scan) => scan.result()),
  };
}

function* allPieces(shard: Shard, blockBytes: number): Generator<Piece> {
  for (const tensor of shard.header.tensors) yield* piecesOf(tensor, blockBytes);
}

/** The dtype as the codec knows it, undefined for one it does not measure. */
export function floatDtype(tensor: TensorInfo): SourceDtype | undefined {
  return tensor.dtype === "F16" || tensor.dtype === "BF16" || tensor.dtype === "F32"
    ? tensor.dtype
    : undefined;
}

class RunningScan {
  #crc32 = 0;
  #maxAbs = 0;
  #maxShift = 0;
  #inexact = 0;
  #underflow = 0;
  #shifts: Uint8Array | undefined;
  /** Largest shift over the parts seen of a row too long for one block. */
  #rowShift = 0;
  readonly #shard: Shard;
  readonly #info: TensorInfo;
  readonly #dtype: SourceDtype | undefined;
  readonly #isCandidate: boolean;
  readonly #context: RunContext;

  constructor(shard: Shard, info: TensorInfo, isCandidate: boolean, context: RunContext) {
    this.#shard = shard;
    this.#info = info;
    this.#dtype = floatDtype(info);
    this.#isCandidate = isCandidate;
    this.#context = context;
  }

  async add(piece: Piece, bytes: Uint8Array): Promise<void> {
    const [crc32] = await Promise.all([
      this.#context.codec.crc32(bytes, this.#crc32),
      this.#dtype === undefined ? undefined : this.#measure(piece, bytes, this.#dtype),
    ]);
    this.#crc32 = crc32;
  }

  async #measure(piece: Piece, bytes: Uint8Array, dtype: SourceDtype): Promise<void> {
    const shifts = new Uint8Array(piece.rows);
    const scan = await this.#context.codec.scanRows(bytes, dtype, piece.cols, shifts);
    // Math.max lets NaN win, which is what makes a tensor with one `nonfinite`.
    this.#maxAbs = Math.max(this.#maxAbs, scan.maxAbs);
    if (!this.#isCandidate) return;
    if (piece.column === 0 && endsRow(piece)) {
      this.#count(scan);
      this.#keepShifts(piece.firstRow, shifts);
      return;
    }
    this.#rowShift = Math.max(this.#rowShift, shifts[0] ?? 0);
    if (endsRow(piece)) await this.#finishLongRow(piece, dtype);
  }

  /** The shift of a long row is known only at its end, and what it loses only then: read the row once more. */
  async #finishLongRow(last: Piece, dtype: SourceDtype): Promise<void> {
    const shift = this.#rowShift;
    this.#rowShift = 0;
    this.#keepShifts(last.firstRow, Uint8Array.of(shift));
    if (shift === shiftOutOfRange || (dtype === "F16" && shift === 0)) return;
    // Not a slot: the next piece may be on its way into the other one.
    const part = new Uint8Array(this.#context.buffers.blockBytes);
    for (const piece of piecesOf(this.#info, part.length)) {
      if (piece.firstRow !== last.firstRow) continue;
      const bytes = part.subarray(0, piece.byteLength);
      await this.#shard.readTensor(this.#info, piece.offset, bytes);
      this.#count(await this.#context.codec.countLosses(bytes, dtype, piece.cols, Uint8Array.of(shift)));
    }
  }

  #count(losses: Pick<RowScan, "inexact" | "underflow">): void {
    this.#inexact += losses.inexact;
    this.#underflow += losses.underflow;
  }

  #keepShifts(firstRow: number, shifts: Uint8Array): void {
    const largest = shifts.reduce((a, b) => Math.max(a, b), 0);
    this.#maxShift = Math.max(this.#maxShift, largest);
    if (largest === 0) return;
    this.#shifts ??= new Uint8Array(this.#info.shape[0] ?? 0);
    this.#shifts.set(shifts, firstRow);
  }

  result(): ScannedTensor {
    const floats: TensorScan | undefined = this.#dtype && {
      maxAbs: this.#maxAbs,
      maxShift: this.#maxShift,
      inexact: this.#inexact,
      underflow: this.#underflow,
    };
    return { name: this.#info.name, crc32: this.#crc32, floats, shifts: this.#shifts };
  }
}
