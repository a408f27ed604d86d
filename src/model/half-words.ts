import type { Codec } from "../codec/codec.ts";
import type { Device } from "../device/device.ts";
import type { TensorPlace } from "../safetensors/checkpoint.ts";
import type { StoredWeight } from "./model-files.ts";
import { readPlace, shiftsOf } from "./stored-bytes.ts";

/** Of words or planes that are read at a time. */
const blockBytes = 4 * 1024 * 1024;

/** What {@link readHalfWords} takes beside its result, until garbage is collected. */
export const halfWordsScratch = 8 * blockBytes;

/**
 * Reads a weight as binary16 words, [rows, cols]: rounded from BF16 and F32, rebuilt from planes. A block of rows at a
 * time, so that no second copy of an embedding is ever in memory.
 */
export async function readHalfWords(
  stored: StoredWeight,
  [rows, cols]: readonly [number, number],
  device: Device,
  codec: Codec,
): Promise<Uint8Array> {
  if (stored.kind === "words" && stored.place.info.dtype === "F16") return readPlace(stored.place);
  const words = new Uint8Array(2 * rows * cols);
  const readBlock =
    stored.kind === "words" ? convertedRows(stored.place, device) : await joinedRows(stored, codec);
  const step = Math.max(1, Math.floor(blockBytes / (4 * cols)));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    await readBlock(row, count, words.subarray(2 * row * cols, 2 * (row + count) * cols));
  }
  return words;
}

/** Fills `words` with rows from `row` on. */
type ReadRows = (row: number, count: number, words: Uint8Array) => Promise<void>;

function convertedRows({ shard, info }: TensorPlace, device: Device): ReadRows {
  const cols = info.shape[1] ?? 0;
  const [dtype, width] = info.dtype === "BF16" ? (["bf16", 2] as const) : (["fp32", 4] as const);
  return async (row, count, words) => {
    const bytes = new Uint8Array(width * count * cols);
    await shard.readTensor(info, width * row * cols, bytes);
    words.set(await device.toHalf(bytes, dtype));
  };
}

/** Without a lower plane the words are those of the FP8 view, which binary16 holds exactly. */
async function joinedRows(
  { upper, lower, scale }: Extract<StoredWeight, { kind: "planes" }>,
  codec: Codec,
): Promise<ReadRows> {
  const cols = upper.info.shape[1] ?? 0;
  const shifts = shiftsOf(await readPlace(scale), scale);
  return async (row, count, words) => {
    const [high, low] = [new Uint8Array(count * cols), new Uint8Array(count * cols)];
    await upper.shard.readTensor(upper.info, row * cols, high);
    if (lower) await lower.shard.readTensor(lower.info, row * cols, low);
    else for (const [at, byte] of high.entries()) low[at] = (byte & 1) << 7; // the pair of a rounded word
    await codec.joinRows(high, low, "F16", cols, shifts.subarray(row, row + count), words);
  };
}
