import { maxRowShift, type SourceDtype, sourceBytes } from "./codec.ts";
import { bf16ToNumber, halfToNumber } from "./reference.ts";

/** A word of a block: its position, its row, and its exact value. */
export type Word = {
  readonly at: number;
  readonly row: number;
  readonly col: number;
  readonly value: number;
};

/** A block of whole rows in the source's dtype, see Codec. */
export type Block = {
  readonly words: Uint8Array;
  readonly dtype: SourceDtype;
  readonly cols: number;
  readonly shifts: Uint8Array;
};

export function* wordsOf(block: Block): Generator<Word> {
  const view = viewOf(block.words);
  for (let row = 0; row < block.shifts.length; row++) {
    for (let col = 0; col < block.cols; col++) {
      const at = row * block.cols + col;
      yield { at, row, col, value: valueAt(view, block.dtype, at) };
    }
  }
}

export function shiftOf(block: Block, row: number): number {
  return block.shifts[row] ?? 0;
}

function valueAt(view: DataView, dtype: SourceDtype, at: number): number {
  switch (dtype) {
    case "F16":
      return halfToNumber(view.getUint16(at * 2, true));
    case "BF16":
      return bf16ToNumber(view.getUint16(at * 2, true));
    case "F32":
      return view.getFloat32(at * 4, true);
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @throws RangeError */
export function checkBlock({ words, dtype, cols, shifts }: Block): void {
  if (!Number.isInteger(cols) || cols < 0)
    throw new RangeError(`cols: expected an integer from 0, got ${cols}`);
  checkSize("words", words, shifts.length * cols * sourceBytes[dtype]);
}

/** @throws RangeError */
export function checkShifts(shifts: Uint8Array): void {
  const row = shifts.findIndex((shift) => shift > maxRowShift);
  if (row >= 0)
    throw new RangeError(`shifts: expected 0 to ${maxRowShift}, got ${shifts[row]} for row ${row}`);
}

/** @throws RangeError */
export function checkSize(name: string, bytes: Uint8Array, expected: number): void {
  if (bytes.length !== expected) {
    throw new RangeError(`${name}: expected ${expected} bytes, got ${bytes.length}`);
  }
}
