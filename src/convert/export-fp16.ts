import { join } from "node:path";
import { sourceBytes } from "../codec/codec.ts";
import { concurrently } from "../concurrency/concurrently.ts";
import { CheckError, FormatError } from "../errors.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import { serializeHeader } from "../safetensors/header.ts";
import { quote } from "../safetensors/quote.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { TensorFileWriter } from "../safetensors/writer.ts";
import type { RunSettings } from "./analyse.ts";
import { sourceName } from "./check-against.ts";
import { withDtype } from "./config-text.ts";
import type { ConvertedDirectory } from "./converted-directory.ts";
import { step } from "./events.ts";
import type { ExportedFile } from "./export-fp8-only.ts";
import { halfOfBf16Table } from "./half-of-bf16.ts";
import { copyHashed } from "./hash-file.ts";
import type { NamedTensor } from "./linear-names.ts";
import type { ManifestTensor, SourceFile } from "./manifest.ts";
import { crcText } from "./manifest.ts";
import type { OutputDirectory } from "./output-directory.ts";
import type { Pair } from "./pair.ts";
import { openPair } from "./pair.ts";
import type { Piece } from "./pieces.ts";
import { oneAhead, piecesOf, readAhead } from "./pieces.ts";
import { keptTensor, PlaneReader, scaleBytes } from "./planes.ts";
import type { RunContext } from "./run-context.ts";
import { BlockBuffers } from "./run-context.ts";
import { indexText } from "./weight-index.ts";

/**
 * An ordinary FP16 checkpoint of what the planes hold: reconstructed words times 2^s, kept BF16 tensors rounded to
 * nearest even, everything else as it is. Patches are not applied: these are the weights that the kernels see.
 *
 * @throws FormatError when a kept BF16 value overflows binary16; CheckError when the directory is damaged
 */
export async function exportFp16(
  converted: ConvertedDirectory,
  directory: OutputDirectory,
  settings: RunSettings,
): Promise<ExportedFile[]> {
  const { path, manifest } = converted;
  const { codec, budget, listener, signal } = settings;
  const checksums = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor.crc32]));
  const expectedOf = (name: string): Expected => checksums.get(name) ?? { source: "" };
  const exported = await concurrently(manifest.source.files, budget.workers, signal, () => {
    const buffers = new BlockBuffers(budget.blockBytes);
    return (shard, _, stop) =>
      step(listener, "rebuild", shard.path, shard.size, (onBytes) =>
        exportShard(path, shard, directory, expectedOf, { codec, buffers, signal: stop, onBytes }),
      );
  });
  const copied = await copyOthers(converted, directory, settings);
  return [...exported, ...copied, ...(await writeIndexAndConfig(converted, directory))];
}

function halfTensors(tensors: readonly TensorInfo[], isSplit: (name: string) => boolean): NamedTensor[] {
  return tensors.map(({ name, dtype, shape }) => ({
    name,
    dtype: dtype === "BF16" || isSplit(name) ? "F16" : dtype,
    shape,
  }));
}

async function exportShard(
  root: string,
  shard: SourceFile,
  directory: OutputDirectory,
  expectedOf: (name: string) => Expected,
  context: RunContext,
): Promise<ExportedFile> {
  const pair = await openPair(join(root, shard.upper), join(root, shard.lower), shard.size);
  try {
    const readers = new Map(pair.source.tensors.map((info) => [info.name, PlaneReader.open(pair, info)]));
    const layout = serializeHeader(
      halfTensors(pair.source.tensors, (name) => readers.get(name) !== undefined),
      new Map([["format", "pt"]]),
    );
    const writer = await TensorFileWriter.create(
      directory.temporaryPath(shard.path),
      layout,
      context.codec.sha256(),
    );
    try {
      for (const { name } of layout.tensors) {
        const info = pair.source.byName.get(name);
        if (info === undefined) continue;
        const planes = readers.get(name);
        await (planes
          ? writeSplit(writer, info, planes, expectedOf(name), context)
          : writeKept(writer, pair, info, expectedOf(name), context));
      }
      const { size } = await writer.seal();
      await directory.place(shard.path, (final) => writer.commit(final));
      return { path: shard.path, size };
    } catch (error) {
      await writer.abort();
      throw error;
    }
  } finally {
    await pair.close();
  }
}

async function writeSplit(
  writer: TensorFileWriter,
  info: TensorInfo,
  planes: PlaneReader,
  expected: Expected,
  { codec, buffers, signal, onBytes }: RunContext,
): Promise<void> {
  const crc = { upper: 0, lower: 0, scale: 0 };
  const prepare = async (
    piece: Piece,
    slot: 0 | 1,
  ): Promise<{ readonly piece: Piece; readonly half: Uint8Array }> => {
    const { upper, lower, shifts } = await planes.read(piece, buffers.slots[slot]);
    const half = buffers.slots[slot].source.subarray(0, 2 * upper.length);
    await codec.joinRows(upper, lower, "F16", piece.cols, shifts, half);
    crc.upper = await codec.crc32(upper, crc.upper);
    crc.lower = await codec.crc32(lower, crc.lower);
    // The later parts of a row too long for a block have its scale once more.
    if (piece.column === 0) crc.scale = await codec.crc32(scaleBytes(shifts), crc.scale);
    return { piece, half };
  };
  for await (const { piece, half } of oneAhead(piecesOf(info, buffers.blockBytes), prepare, signal)) {
    await writer.writeTensor(info.name, (2 * piece.offset) / sourceBytes[planes.dtype], half);
    onBytes(piece.byteLength);
  }
  for (const plane of ["upper", "lower", "scale"] as const)
    refuseDamage(info.name, plane, expected[plane], crc[plane]);
}

type Expected = ManifestTensor["crc32"];

/** @throws CheckError when what was read is not what the conversion wrote */
function refuseDamage(tensor: string, what: string, expected: string | undefined, actual: number): void {
  if (crcText(actual) === expected) return;
  throw new CheckError(
    `the ${what} bytes of tensor ${quote(tensor)} have CRC-32 ${crcText(actual)}, not ${expected}`,
    {
      hint: "the directory is damaged: `nestedfp verify DIR` names the file",
    },
  );
}

async function writeKept(
  writer: TensorFileWriter,
  pair: Pair,
  info: TensorInfo,
  expected: Expected,
  context: RunContext,
): Promise<void> {
  const stored = keptTensor(pair, info);
  let crc32 = 0;
  const halfOf = info.dtype === "BF16" ? halfOfBf16Table() : undefined;
  const pieces = piecesOf(stored, context.buffers.blockBytes);
  for await (const { piece, bytes } of readAhead(pair.upper, pieces, context)) {
    crc32 = await context.codec.crc32(bytes, crc32);
    if (halfOf) roundInPlace(bytes, halfOf, pair.upper.name, info.name);
    await writer.writeTensor(info.name, piece.offset, bytes);
    context.onBytes(piece.byteLength);
  }
  refuseDamage(info.name, "source", expected.source, crc32);
}

/** @throws FormatError for a finite BF16 value that becomes infinite */
function roundInPlace(bytes: Uint8Array, halfOf: Uint16Array, file: string, tensor: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 2) {
    const word = view.getUint16(at, true);
    const half = halfOf[word] ?? 0;
    if ((half & 0x7fff) === 0x7c00 && (word & 0x7fff) < 0x7f80) {
      throw new FormatError(
        `${quote(file)}: tensor ${quote(tensor)} has a BF16 value beyond FP16's largest, 65504`,
        {
          hint: "this model has no FP16 form; restore gives its BF16 one",
        },
      );
    }
    view.setUint16(at, half, true);
  }
}

async function copyOthers(
  { path, manifest }: ConvertedDirectory,
  directory: OutputDirectory,
  { codec, signal, budget, listener }: RunSettings,
): Promise<ExportedFile[]> {
  const rewritten = new Set(["config.json", manifest.source.index]);
  const sources = new Map(
    manifest.files
      .filter((file) => file.role === "source" || file.role === "verbatim")
      .map((file) => [
        file.role === "source" ? sourceName(file.path, manifest.source.index) : file.path,
        file.path,
      ]),
  );
  const buffers = new BlockBuffers(budget.blockBytes);
  const exported: ExportedFile[] = [];
  for (const [target, from] of sources) {
    if (rewritten.has(target)) continue;
    const size = await step(listener, "copy", target, 0, async (onBytes) => {
      const context = { codec, signal, buffers, onBytes };
      const copied = await copyHashed(join(path, from), directory.temporaryPath(target), context);
      await directory.place(target, (final) => copied.file.commit(final));
      return copied.size;
    });
    exported.push({ path: target, size });
  }
  return exported;
}

async function writeIndexAndConfig(
  { path, manifest }: ConvertedDirectory,
  directory: OutputDirectory,
): Promise<ExportedFile[]> {
  const exported: ExportedFile[] = [];
  const write = async (name: string, bytes: Uint8Array): Promise<void> => {
    await directory.writeFile(name, bytes);
    exported.push({ path: name, size: bytes.length });
  };
  if (manifest.source.index !== null) {
    const split = new Set(manifest.tensors.filter(({ planes }) => planes !== null).map(({ name }) => name));
    const files = manifest.source.files.map(({ path: file }) => {
      const tensors = manifest.tensors.filter((tensor) => tensor.file === file);
      const infos = tensors.map((tensor) => ({ ...tensor, dataOffsets: tensor.offsets }));
      return { file, tensors: halfTensors(infos, (name) => split.has(name)) };
    });
    await write(manifest.source.index, Buffer.from(indexText(files)));
  }
  const config = await readWholeFile(join(path, "nestedfp/source/config.json"), 16 * 1024 * 1024);
  await write("config.json", withDtype(config, "float16"));
  return exported;
}
