import type { SourceDtype } from "../codec/codec.ts";
import { sourceBytes } from "../codec/codec.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import type { Pair } from "./pair.ts";
import { PatchReader } from "./patch-reader.ts";
import type { Piece } from "./pieces.ts";
import { oneAhead, piecesOf } from "./pieces.ts";
import type { PlanePiece } from "./planes.ts";
import { keptTensor, PlaneReader } from "./planes.ts";
import type { RunContext, Slot } from "./run-context.ts";

/** A piece of the source file, rebuilt, with the planes it came from if its tensor is split. */
export type RebuiltPiece = {
  readonly piece: Piece;
  readonly bytes: Uint8Array;
  readonly split: (PlanePiece & { readonly dtype: SourceDtype }) | undefined;
};

/**
 * Rebuilds the data of a source shard from its pair, in the order of the source file and without gap. The bytes
 * are valid until the next step.
 *
 * @throws FormatError for planes, scales or patches that contradict the source header
 */
export function rebuildSource(
  pair: Pair,
  context: Pick<RunContext, "codec" | "buffers" | "signal">,
): AsyncGenerator<RebuiltPiece> {
  const { buffers, signal } = context;
  let current: TensorReader | undefined;
  return oneAhead(
    sourcePieces(pair.source.tensors, buffers.blockBytes),
    async (piece, slot) => {
      if (current?.info !== piece.tensor) current = openTensor(pair, piece.tensor, context.codec);
      return current.read(piece, buffers.slots[slot]);
    },
    signal,
  );
}

function* sourcePieces(tensors: readonly TensorInfo[], blockBytes: number): Generator<Piece> {
  for (const tensor of tensors) yield* piecesOf(tensor, blockBytes);
}

type TensorReader = {
  readonly info: TensorInfo;
  read(piece: Piece, slot: Slot): Promise<RebuiltPiece>;
};

function openTensor(pair: Pair, info: TensorInfo, codec: RunContext["codec"]): TensorReader {
  const planes = PlaneReader.open(pair, info);
  if (planes === undefined) {
    const stored = keptTensor(pair, info);
    return {
      info,
      async read(piece, slot) {
        const bytes = slot.source.subarray(0, piece.byteLength);
        await pair.upper.readTensor(stored, piece.offset, bytes);
        return { piece, bytes, split: undefined };
      },
    };
  }
  const patches = PatchReader.open(pair.lower, info);
  const { dtype } = planes;
  return {
    info,
    async read(piece, slot) {
      const bytes = slot.source.subarray(0, piece.byteLength);
      const split = await planes.read(piece, slot);
      await codec.joinRows(split.upper, split.lower, dtype, piece.cols, split.shifts, bytes);
      await patches?.apply(bytes, piece.offset / sourceBytes[dtype], piece.rows * piece.cols);
      return { piece, bytes, split: { ...split, dtype } };
    },
  };
}
