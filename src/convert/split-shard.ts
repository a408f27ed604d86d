import type { SourceDtype } from "../codec/codec.ts";
import { sourceBytes } from "../codec/codec.ts";
import { FormatError } from "../errors.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import { serializeHeader } from "../safetensors/header.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import { TensorFileWriter } from "../safetensors/writer.ts";
import { layoutPair, patchIndexBytes, planeNames, plannedTensor, sourceHeaderName } from "./layout.ts";
import type { PlaneChecksums } from "./manifest.ts";
import { crcText } from "./manifest.ts";
import { pairMetadata } from "./pair-metadata.ts";
import type { Piece } from "./pieces.ts";
import { oneAhead, piecesOf, readAhead } from "./pieces.ts";
import type { ConversionPlan } from "./plan.ts";
import { scaleBytes } from "./planes.ts";
import type { RunContext } from "./run-context.ts";
import type { ScannedTensor, ShardScan } from "./scan.ts";
import { floatDtype } from "./scan.ts";

/** The two files of one shard under their temporary names, complete but not yet placed. */
export type SplitPair = {
  readonly upper: TensorFileWriter;
  readonly lower: TensorFileWriter;
  readonly checksums: ReadonlyMap<string, PlaneChecksums>;
};

/**
 * Writes the upper and the lower file of one source shard. The caller seals, commits or aborts both.
 *
 * @param place which shard this is, from 0, and of how many
 * @throws FormatError when the source is not what the scan saw
 */
export async function splitShard(
  shard: Shard,
  place: { readonly index: number; readonly count: number },
  scan: ShardScan,
  plan: ConversionPlan,
  temporary: { readonly upper: string; readonly lower: string },
  context: RunContext,
): Promise<SplitPair> {
  const layout = layoutPair(shard.header, (name) => plannedTensor(plan, name));
  const upper = await TensorFileWriter.create(
    temporary.upper,
    serializeHeader(layout.upper, pairMetadata("upper", place.index, place.count, scan.sha256)),
    context.codec.sha256(),
  );
  try {
    const lower = await TensorFileWriter.create(
      temporary.lower,
      serializeHeader(layout.lower, pairMetadata("lower", place.index, place.count, scan.sha256)),
      context.codec.sha256(),
    );
    try {
      const split = new ShardSplit(shard, scan, plan, upper, lower, context);
      return { upper, lower, checksums: await split.run() };
    } catch (error) {
      await lower.abort();
      throw error;
    }
  } catch (error) {
    await upper.abort();
    throw error;
  }
}

type Checksums = { source: number; upper: number; lower: number };

/** A piece of source words and its planes, in the buffers of a slot. */
type SplitPiece = {
  readonly piece: Piece;
  readonly bytes: Uint8Array;
  readonly shifts: Uint8Array;
  readonly upper: Uint8Array;
  readonly lower: Uint8Array;
};

/** The state of one shard being written: two writers and what the scan said. */
class ShardSplit {
  readonly #shard: Shard;
  readonly #scans: ReadonlyMap<string, ScannedTensor>;
  readonly #plan: ConversionPlan;
  readonly #upper: TensorFileWriter;
  readonly #lower: TensorFileWriter;
  readonly #context: RunContext;

  constructor(
    shard: Shard,
    scan: ShardScan,
    plan: ConversionPlan,
    upper: TensorFileWriter,
    lower: TensorFileWriter,
    context: RunContext,
  ) {
    this.#shard = shard;
    this.#scans = new Map(scan.tensors.map((tensor) => [tensor.name, tensor]));
    this.#plan = plan;
    this.#upper = upper;
    this.#lower = lower;
    this.#context = context;
  }

  /** Goes through the source in the order of the upper file, so that its blocks are hashed as they are written. */
  async run(): Promise<ReadonlyMap<string, PlaneChecksums>> {
    const checksums = new Map<string, PlaneChecksums>();
    const rawHeader = await this.#shard.rawHeader();
    await this.#lower.writeTensor(sourceHeaderName, 0, rawHeader);
    this.#context.onBytes(rawHeader.length);

    const scaleCrcs = new Map<string, number>();
    for (const { name } of this.#upper.tensors) {
      const source = this.#shard.header.byName.get(name);
      if (source && this.#planned(name).action === "keep") {
        await this.#copy(source);
      } else if (source) {
        checksums.set(name, await this.#split(source, scaleCrcs.get(name) ?? 0));
      } else {
        // A scale: the only tensors of the upper file that the source does not have.
        const weight = name.slice(0, -"_scale".length);
        scaleCrcs.set(weight, await this.#writeScale(this.#info(weight)));
      }
    }
    return checksums;
  }

  #planned(name: string): ReturnType<typeof plannedTensor> {
    return plannedTensor(this.#plan, name);
  }

  #info(name: string): TensorInfo {
    const info = this.#shard.header.byName.get(name);
    if (info === undefined) throw new Error(`no tensor ${name}`);
    return info;
  }

  #scan(name: string): ScannedTensor {
    const scan = this.#scans.get(name);
    if (scan === undefined) throw new Error(`no scan of ${name}`);
    return scan;
  }

  async #copy(info: TensorInfo): Promise<void> {
    const { codec, buffers, onBytes } = this.#context;
    let crc32 = 0;
    const pieces = piecesOf(info, buffers.blockBytes);
    for await (const { piece, bytes } of readAhead(this.#shard, pieces, this.#context)) {
      const [crc] = await Promise.all([
        codec.crc32(bytes, crc32),
        this.#upper.writeTensor(info.name, piece.offset, bytes),
      ]);
      crc32 = crc;
      onBytes(bytes.length);
    }
    this.#refuseChange(info, crc32);
  }

  async #writeScale(info: TensorInfo): Promise<number> {
    const { codec, buffers } = this.#context;
    const shifts = this.#scan(info.name).shifts;
    const rows = info.shape[0] ?? 0;
    const rowsPerBlock = buffers.blockBytes / 4;
    let crc32 = 0;
    for (let first = 0; first < rows; first += rowsPerBlock) {
      const count = Math.min(rowsPerBlock, rows - first);
      const bytes = scaleBytes(shifts?.subarray(first, first + count) ?? new Uint8Array(count));
      const [crc] = await Promise.all([
        codec.crc32(bytes, crc32),
        this.#upper.writeTensor(planeNames(info.name).scale, first * 4, bytes),
      ]);
      crc32 = crc;
    }
    return crc32;
  }

  async #split(info: TensorInfo, scaleCrc: number): Promise<PlaneChecksums> {
    const { signal, onBytes } = this.#context;
    const dtype = floatDtype(info);
    if (dtype === undefined) throw new Error(`${info.name} is ${info.dtype}`);
    const names = planeNames(info.name);
    const wanted = this.#planned(info.name).patches;
    const patches =
      wanted > 0 && dtype !== "F32" ? new PatchWriter(info, dtype, this.#lower, this.#context) : undefined;
    const crc = { source: 0, upper: 0, lower: 0 };
    const pieces = piecesOf(info, this.#context.buffers.blockBytes);
    const prepare = (piece: Piece, slot: 0 | 1): Promise<SplitPiece> =>
      this.#splitPiece(piece, slot, dtype, crc);
    for await (const { piece, bytes, shifts, upper, lower } of oneAhead(pieces, prepare, signal)) {
      const at = piece.offset / sourceBytes[dtype];
      await Promise.all([
        this.#upper.writeTensor(names.upper, at, upper),
        this.#lower.writeTensor(names.lower, at, lower),
        patches?.add(bytes, piece.cols, shifts, at),
      ]);
      onBytes(bytes.length);
    }
    this.#refuseChange(info, crc.source);
    const patched = patches && {
      patch_index: crcText(patches.indexCrc),
      patch_value: crcText(patches.valueCrc),
    };
    if (patches && patches.count !== wanted)
      throw new Error(`${patches.count} patches of ${info.name}, not ${wanted}`);
    return { upper: crcText(crc.upper), scale: crcText(scaleCrc), lower: crcText(crc.lower), ...patched };
  }

  /** Reads and splits one piece into a slot, and continues the checksums over it. */
  async #splitPiece(piece: Piece, slot: 0 | 1, dtype: SourceDtype, crc: Checksums): Promise<SplitPiece> {
    const { codec, buffers } = this.#context;
    const bytes = buffers.slots[slot].source.subarray(0, piece.byteLength);
    await this.#shard.readTensor(piece.tensor, piece.offset, bytes);
    const words = piece.rows * piece.cols;
    const all = this.#scan(piece.tensor.name).shifts;
    const shifts =
      all?.subarray(piece.firstRow, piece.firstRow + piece.rows) ?? buffers.noShifts.subarray(0, piece.rows);
    const upper = buffers.slots[slot].upper.subarray(0, words);
    const lower = buffers.slots[slot].lower.subarray(0, words);
    await codec.splitRows(bytes, dtype, piece.cols, shifts, upper, lower);
    [crc.source, crc.upper, crc.lower] = await Promise.all([
      codec.crc32(bytes, crc.source),
      codec.crc32(upper, crc.upper),
      codec.crc32(lower, crc.lower),
    ]);
    return { piece, bytes, shifts, upper, lower };
  }

  #refuseChange(info: TensorInfo, crc32: number): void {
    const scanned = this.#scan(info.name).crc32;
    if (crc32 === scanned) return;
    throw new FormatError(
      `${quote(this.#shard.name)}: tensor ${quote(info.name)} changed while it was converted (CRC-32 ${crcText(scanned)}, then ${crcText(crc32)})`,
      { hint: "wait until nothing writes to the source, then convert again" },
    );
  }
}

/** Appends the patch list of one tensor: positions and source words of what the planes do not keep. */
class PatchWriter {
  count = 0;
  indexCrc = 0;
  valueCrc = 0;
  readonly #info: TensorInfo;
  readonly #dtype: Exclude<SourceDtype, "F32">;
  readonly #lower: TensorFileWriter;
  readonly #context: RunContext;

  constructor(
    info: TensorInfo,
    dtype: Exclude<SourceDtype, "F32">,
    lower: TensorFileWriter,
    context: RunContext,
  ) {
    this.#info = info;
    this.#dtype = dtype;
    this.#lower = lower;
    this.#context = context;
  }

  async add(words: Uint8Array, cols: number, shifts: Uint8Array, firstWord: number): Promise<void> {
    const indexBytes = patchIndexBytes(this.#info);
    const { codec, buffers } = this.#context;
    const { index, value } = buffers.patches(indexBytes);
    const found = await codec.collectPatches(
      words,
      this.#dtype,
      cols,
      shifts,
      firstWord,
      index,
      indexBytes,
      value,
    );
    if (found === 0) return;
    const names = planeNames(this.#info.name);
    const indexPart = index.subarray(0, found * indexBytes);
    const valuePart = value.subarray(0, found * 2);
    const [indexCrc, valueCrc] = await Promise.all([
      codec.crc32(indexPart, this.indexCrc),
      codec.crc32(valuePart, this.valueCrc),
      this.#lower.writeTensor(names.patch_index, this.count * indexBytes, indexPart),
      this.#lower.writeTensor(names.patch_value, this.count * 2, valuePart),
    ]);
    this.count += found;
    this.indexCrc = indexCrc;
    this.valueCrc = valueCrc;
  }
}
