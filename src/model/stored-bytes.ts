import { FormatError } from "../errors.ts";
import type { TensorPlace } from "../safetensors/checkpoint.ts";
import { quote } from "../safetensors/quote.ts";

/** Bytes of a tensor in its file. */
export function sizeOf({ info }: TensorPlace): number {
  return info.dataOffsets[1] - info.dataOffsets[0];
}

export async function readPlace(
  place: TensorPlace,
  bytes: Uint8Array = new Uint8Array(sizeOf(place)),
): Promise<Uint8Array> {
  await place.shard.readTensor(place.info, 0, bytes);
  return bytes;
}

/** Row shifts from the stored scales 2^(s-8), FP32. @throws FormatError for a scale that is no such power */
export function shiftsOf(scales: Uint8Array, { shard, info }: TensorPlace): Uint8Array {
  const view = new DataView(scales.buffer, scales.byteOffset, scales.length);
  return Uint8Array.from({ length: scales.length / 4 }, (_, row) => {
    const scale = view.getFloat32(4 * row, true);
    const shift = Math.log2(scale) + 8;
    if (Number.isInteger(shift) && shift >= 0 && shift <= 15) return shift;
    throw new FormatError(
      `${quote(shard.name)}: tensor ${quote(info.name)} row ${row} is ${scale}, not a power of two from 2^-8 to 2^7`,
      { hint: "this FP8 checkpoint was not written by `nestedfp convert`, or is damaged" },
    );
  });
}
