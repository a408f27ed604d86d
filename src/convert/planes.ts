import type { SourceDtype } from "../codec/codec.ts";
import { maxRowShift, sourceBytes } from "../codec/codec.ts";
import { FormatError } from "../errors.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import { planeNames } from "./layout.ts";
import type { Pair } from "./pair.ts";
import type { Piece } from "./pieces.ts";
import type { Slot } from "./run-context.ts";
import { floatDtype } from "./scan.ts";

/** The planes of a piece of words, in the buffers of a slot, and the shifts of its rows. */
export type PlanePiece = {
  readonly upper: Uint8Array;
  readonly lower: Uint8Array;
  readonly shifts: Uint8Array;
};

/** Reads what a split tensor is stored as. */
export class PlaneReader {
  /** Of the source. */
  readonly dtype: SourceDtype;
  readonly #pair: Pair;
  readonly #upper: TensorInfo;
  readonly #lower: TensorInfo;
  readonly #scale: TensorInfo;

  private constructor(
    pair: Pair,
    dtype: SourceDtype,
    upper: TensorInfo,
    lower: TensorInfo,
    scale: TensorInfo,
  ) {
    this.#pair = pair;
    this.dtype = dtype;
    this.#upper = upper;
    this.#lower = lower;
    this.#scale = scale;
  }

  /**
   * @param info of the source
   * @returns undefined for a tensor that is not split
   * @throws FormatError when the stored tensors contradict the source header
   */
  static open(pair: Pair, info: TensorInfo): PlaneReader | undefined {
    const names = planeNames(info.name);
    const upper = pair.upper.header.byName.get(names.upper);
    const lower = pair.lower.header.byName.get(names.lower);
    if (upper === undefined) throw contradiction(pair, info, "is missing");
    if (lower === undefined) return undefined;
    const dtype = floatDtype(info);
    if (dtype === undefined || upper.dtype !== "F8_E4M3")
      throw contradiction(pair, info, `is ${upper.dtype}`);
    if (lower.dtype !== "U8") throw contradiction(pair, info, `has a lower plane of ${lower.dtype}`);
    for (const plane of [upper, lower]) {
      if (plane.shape.join() !== info.shape.join()) {
        throw contradiction(pair, info, `has a plane of shape [${plane.shape}], not [${info.shape}]`);
      }
    }
    const scale = pair.upper.header.byName.get(names.scale);
    if (scale?.dtype !== "F32" || scale.shape.join() !== `${info.shape[0]},1`) {
      throw contradiction(pair, info, "has no weight_scale of its shape");
    }
    return new PlaneReader(pair, dtype, upper, lower, scale);
  }

  /** Reads the planes of a piece of the source tensor. @throws FormatError for a scale that is none */
  async read(piece: Piece, slot: Slot): Promise<PlanePiece> {
    const words = piece.rows * piece.cols;
    const at = piece.offset / sourceBytes[this.dtype];
    const upper = slot.upper.subarray(0, words);
    const lower = slot.lower.subarray(0, words);
    const [shifts] = await Promise.all([
      readShifts(this.#pair.upper, this.#scale, piece),
      this.#pair.upper.readTensor(this.#upper, at, upper),
      this.#pair.lower.readTensor(this.#lower, at, lower),
    ]);
    return { upper, lower, shifts };
  }
}

/** A tensor that was not split. @throws FormatError when it is not stored as the source header says */
export function keptTensor(pair: Pair, info: TensorInfo): TensorInfo {
  const stored = pair.upper.header.byName.get(info.name);
  if (stored?.dtype !== info.dtype || stored.shape.join() !== info.shape.join()) {
    throw contradiction(
      pair,
      info,
      `is ${stored?.dtype} [${stored?.shape}], not ${info.dtype} [${info.shape}]`,
    );
  }
  return stored;
}

/** `weight_scale` of some rows as stored: FP32, 2^(s-8). */
export function scaleBytes(shifts: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 * shifts.length);
  const view = new DataView(bytes.buffer);
  for (const [row, shift] of shifts.entries()) view.setFloat32(4 * row, 2 ** (shift - 8), true);
  return bytes;
}

/** Row shifts from scales 2^(s-8). @throws FormatError for a scale that is no such power */
async function readShifts(upper: Shard, scale: TensorInfo, piece: Piece): Promise<Uint8Array> {
  const raw = new Uint8Array(piece.rows * 4);
  await upper.readTensor(scale, piece.firstRow * 4, raw);
  const view = new DataView(raw.buffer);
  return Uint8Array.from({ length: piece.rows }, (_, i) => {
    const shift = Math.log2(view.getFloat32(4 * i, true)) + 8;
    if (Number.isInteger(shift) && shift >= 0 && shift <= maxRowShift) return shift;
    throw new FormatError(
      `${quote(upper.name)}: tensor ${quote(scale.name)} row ${piece.firstRow + i} is ${view.getFloat32(4 * i, true)}, not a power of two from 2^-8 to 2^7`,
      { hint: "the file is damaged: fetch it again" },
    );
  });
}

function contradiction(pair: Pair, info: TensorInfo, what: string): FormatError {
  return new FormatError(
    `${quote(pair.upper.name)}: tensor ${quote(info.name)} ${what}, against the source header in ${quote(pair.lower.name)}`,
    { hint: "the two files do not belong together, or one is damaged" },
  );
}
