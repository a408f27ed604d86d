import { FormatError } from "../errors.ts";
import type { SafetensorsHeader } from "../safetensors/header.ts";
import { parseHeader } from "../safetensors/header.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import { openShard } from "../safetensors/reader.ts";
import { sourceHeaderName } from "./layout.ts";

/** The two files of one source shard, opened, and the header of the source that they hold. */
export type Pair = {
  readonly upper: Shard;
  readonly lower: Shard;
  readonly source: SafetensorsHeader;
  /** The first bytes of the source file, verbatim. */
  readonly sourceHeader: Uint8Array;
  close(): Promise<void>;
};

/**
 * @param sourceSize bytes of the source file
 * @throws FormatError when either file is damaged or they do not hold a source header
 */
export async function openPair(upperPath: string, lowerPath: string, sourceSize: number): Promise<Pair> {
  const upper = await openShard(upperPath);
  try {
    const lower = await openShard(lowerPath);
    const close = async (): Promise<void> => {
      await upper.close();
      await lower.close();
    };
    try {
      const sourceHeader = await readSourceHeader(lower);
      const json = sourceHeader.subarray(8);
      const source = parseHeader(
        json,
        sourceSize - sourceHeader.length,
        `${lower.name}: ${sourceHeaderName}`,
      );
      return { upper, lower, source, sourceHeader, close };
    } catch (error) {
      await lower.close();
      throw error;
    }
  } catch (error) {
    await upper.close();
    throw error;
  }
}

async function readSourceHeader(lower: Shard): Promise<Uint8Array> {
  const info = lower.header.byName.get(sourceHeaderName);
  if (info?.dtype !== "U8") {
    throw new FormatError(`${quote(lower.name)} has no tensor ${sourceHeaderName}`, {
      hint: "the file is damaged or is no lower shard",
    });
  }
  const bytes = new Uint8Array(info.dataOffsets[1] - info.dataOffsets[0]);
  await lower.readTensor(info, 0, bytes);
  return bytes;
}
