import { dtypeBits } from "../safetensors/dtype.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import type { Shard } from "../safetensors/reader.ts";
import type { RunContext } from "./run-context.ts";

/** A run of one tensor's words that fits into a block: whole rows, or a part of one row too long for a block. */
export type Piece = {
  readonly tensor: TensorInfo;
  /** Bytes from the start of the tensor. */
  readonly offset: number;
  readonly byteLength: number;
  readonly firstRow: number;
  /** 1 for a part of a row. */
  readonly rows: number;
  /** Words per row of this piece. */
  readonly cols: number;
  /** Where the piece begins in its row, in words; > 0 only for later parts of a long row. */
  readonly column: number;
};

/**
 * Cuts a tensor into pieces of at most `blockBytes`, in order and without gap. A matrix [N, K] is cut between
 * rows; anything else counts as one row (packed 4 and 6 bit types as a row of bytes).
 */
export function* piecesOf(tensor: TensorInfo, blockBytes: number): Generator<Piece> {
  const total = tensor.dataOffsets[1] - tensor.dataOffsets[0];
  if (total === 0) return;
  const matrixColumns = columnsOf(tensor);
  const wordBytes =
    matrixColumns === undefined ? Math.max(1, dtypeBits[tensor.dtype] >> 3) : dtypeBits[tensor.dtype] / 8;
  const rowBytes = matrixColumns === undefined ? total : matrixColumns * wordBytes;
  if (matrixColumns === undefined || rowBytes > blockBytes) {
    yield* partsOfRows(tensor, wordBytes, total, rowBytes, blockBytes);
    return;
  }
  const rowsPerPiece = Math.floor(blockBytes / rowBytes);
  for (let offset = 0; offset < total; offset += rowsPerPiece * rowBytes) {
    const byteLength = Math.min(rowsPerPiece * rowBytes, total - offset);
    yield {
      tensor,
      offset,
      byteLength,
      firstRow: offset / rowBytes,
      rows: byteLength / rowBytes,
      cols: matrixColumns,
      column: 0,
    };
  }
}

function* partsOfRows(
  tensor: TensorInfo,
  wordBytes: number,
  total: number,
  rowBytes: number,
  blockBytes: number,
): Generator<Piece> {
  const partBytes = Math.max(wordBytes, Math.floor(blockBytes / wordBytes) * wordBytes);
  for (let row = 0; row * rowBytes < total; row++) {
    for (let begin = 0; begin < rowBytes; begin += partBytes) {
      const byteLength = Math.min(partBytes, rowBytes - begin);
      yield {
        tensor,
        offset: row * rowBytes + begin,
        byteLength,
        firstRow: row,
        rows: 1,
        cols: byteLength / wordBytes,
        column: begin / wordBytes,
      };
    }
  }
}

/** K of a matrix [N, K] of whole-byte words; undefined for what is cut without regard to rows. */
function columnsOf(tensor: TensorInfo): number | undefined {
  const isMatrix = tensor.shape.length === 2 && dtypeBits[tensor.dtype] % 8 === 0;
  return isMatrix ? tensor.shape[1] : undefined;
}

/** True for the piece that completes its row or rows. */
export function endsRow(piece: Piece): boolean {
  const columns = columnsOf(piece.tensor);
  return columns === undefined || piece.column + piece.cols === columns;
}

/**
 * Prepares items one after another and stays one ahead of the consumer. What is yielded may live in buffers of
 * its slot: it is valid until the next step. Aborting the signal ends the iteration with its reason.
 */
export async function* oneAhead<T, R>(
  items: Iterable<T>,
  prepare: (item: T, slot: 0 | 1) => Promise<R>,
  signal: AbortSignal,
): AsyncGenerator<R> {
  let slot: 0 | 1 = 0;
  let pending: Promise<R> | undefined;
  try {
    for (const item of items) {
      const ready = pending && { value: await pending };
      signal.throwIfAborted();
      pending = prepare(item, slot);
      // The consumer may fail while this is on its way: its rejection is then nobody's.
      pending.catch(() => undefined);
      slot = slot === 0 ? 1 : 0;
      if (ready) yield ready.value;
    }
    if (pending) yield await pending;
  } finally {
    // Files may be closed and buffers reused as soon as this generator ends.
    await pending?.catch(() => undefined);
  }
}

export type ReadPiece = { readonly piece: Piece; readonly bytes: Uint8Array };

/** Reads pieces of a shard through the source buffers of the two slots. */
export function readAhead(
  shard: Shard,
  pieces: Iterable<Piece>,
  { buffers, signal }: Pick<RunContext, "buffers" | "signal">,
): AsyncGenerator<ReadPiece> {
  return oneAhead(
    pieces,
    async (piece, slot) => {
      const bytes = buffers.slots[slot].source.subarray(0, piece.byteLength);
      await shard.readTensor(piece.tensor, piece.offset, bytes);
      return { piece, bytes };
    },
    signal,
  );
}
