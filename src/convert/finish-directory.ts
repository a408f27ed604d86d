import { join } from "node:path";
import { maxRowShift } from "../codec/codec.ts";
import { compareUtf8 } from "../safetensors/compare-utf8.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { AtomicFile } from "../safetensors/writer.ts";
import type { RunSettings } from "./analyse.ts";
import { finiteMax, scannedTensors, summarise } from "./analyse.ts";
import { withMember } from "./config-text.ts";
import { copyHashed } from "./hash-file.ts";
import { layoutPair, pairFileNames, plannedTensor } from "./layout.ts";
import type {
  FileRole,
  ManifestFile,
  ManifestHead,
  ManifestTensor,
  PlaneChecksums,
  SourceFile,
} from "./manifest.ts";
import { crcText, encoding, manifestName, manifestText } from "./manifest.ts";
import type { OutputDirectory } from "./output-directory.ts";
import type { ConversionPlan } from "./plan.ts";
import {
  formatVersion,
  ignoreList,
  quantizationConfig,
  quantizationMistakes,
} from "./quantization-config.ts";
import { BlockBuffers } from "./run-context.ts";
import type { PairRecord } from "./run-record.ts";
import type { ShardScan } from "./scan.ts";
import type { SourceView } from "./source.ts";
import { sumsName, sumsText } from "./sums.ts";
import { indexText, weightIndexName } from "./weight-index.ts";

const lowerAttributes = "*.nfp filter=lfs diff=lfs merge=lfs -text";

// Hubs rewrite these two in the root, so no checksum of the directory covers them there (FORMAT.md §3).
const rewrittenByHubs = new Set(["README.md", ".gitattributes"]);

/** Everything the conversion decided and wrote so far. */
export type Converted = {
  readonly source: SourceView;
  readonly plan: ConversionPlan;
  readonly scans: readonly ShardScan[];
  /** In the order of the source shards. */
  readonly pairs: readonly PairRecord[];
  readonly tool: { readonly name: string; readonly version: string };
};

/**
 * Writes every file but the pairs: copies of the source root, nestedfp/, then the index and config.json last, as
 * these two make the directory loadable.
 */
export async function finishDirectory(
  directory: OutputDirectory,
  converted: Converted,
  settings: RunSettings,
): Promise<ManifestHead> {
  const writer = new FileWriter(directory, settings, converted.source.checkpoint.root);
  const { source } = converted;
  for (const name of source.root.files) {
    if (name !== "config.json" && name !== ".gitattributes") await writer.copy(name, name, "verbatim");
  }
  for (const name of ["config.json", "README.md", ".gitattributes"]) {
    if (source.root.files.includes(name)) await writer.copy(name, `nestedfp/source/${name}`, "source");
  }
  const sourceIndex = source.checkpoint.index?.name;
  if (sourceIndex !== undefined)
    await writer.copy(sourceIndex, `nestedfp/source/${sourceIndex}.txt`, "source");
  await writer.write(".gitattributes", "verbatim", await attributes(source));

  const index = Buffer.from(upperIndex(converted));
  const config = upperConfig(converted);
  const files = [
    ...writer.files,
    ...converted.pairs.flatMap((pair, i) => pairFiles(pair, i, converted.pairs.length)),
    { path: weightIndexName, role: "index" as const, ...(await writer.digest(index)) },
    { path: "config.json", role: "config" as const, ...(await writer.digest(config)) },
  ].sort((a, b) => compareUtf8(a.path, b.path));

  const head = describe(converted, files);
  const manifestSha256 = await writer.writeText(manifestName, manifestText(head, describeTensors(converted)));
  const sums = [...files, { path: manifestName, sha256: manifestSha256 }];
  sums.sort((a, b) => compareUtf8(a.path, b.path));
  await directory.writeFile(sumsName, Buffer.from(sumsText(sums)));
  await directory.writeFile(weightIndexName, index);
  await directory.writeFile("config.json", config);
  return head;
}

function pairFiles(pair: PairRecord, index: number, count: number): ManifestFile[] {
  const names = pairFileNames(index, count);
  return [
    { path: names.upper, role: "upper", ...pair.upper },
    { path: names.lower, role: "lower", ...pair.lower },
  ];
}

/** Writes or copies small files and remembers what the manifest must list. */
class FileWriter {
  readonly files: ManifestFile[] = [];
  readonly #directory: OutputDirectory;
  readonly #settings: RunSettings;
  readonly #root: string;
  readonly #buffers: BlockBuffers;

  constructor(directory: OutputDirectory, settings: RunSettings, root: string) {
    this.#directory = directory;
    this.#settings = settings;
    this.#root = root;
    this.#buffers = new BlockBuffers(settings.budget.blockBytes);
  }

  async copy(from: string, to: string, role: FileRole): Promise<void> {
    const { codec, signal } = this.#settings;
    const context = { codec, signal, buffers: this.#buffers, onBytes: () => undefined };
    const copied = await copyHashed(join(this.#root, from), this.#directory.temporaryPath(to), context);
    await this.#directory.place(to, (final) => copied.file.commit(final));
    this.#remember(to, role, copied);
  }

  async write(path: string, role: FileRole, bytes: Uint8Array): Promise<void> {
    await this.#directory.writeFile(path, bytes);
    this.#remember(path, role, await this.digest(bytes));
  }

  /** Writes a text part by part. @returns its sha256 */
  async writeText(path: string, parts: Iterable<string>): Promise<string> {
    const sha256 = this.#settings.codec.sha256();
    const temporary = this.#directory.temporaryPath(path);
    const file = await AtomicFile.create(temporary);
    try {
      let position = 0;
      for (const bytes of inChunks(parts)) {
        await Promise.all([file.write(bytes, position), sha256.update(bytes)]);
        position += bytes.length;
      }
      await this.#directory.place(path, (final) => file.commit(final));
    } catch (error) {
      await file.abort();
      throw error;
    }
    return sha256.digest();
  }

  async digest(bytes: Uint8Array): Promise<{ readonly size: number; readonly sha256: string }> {
    const sha256 = this.#settings.codec.sha256();
    await sha256.update(bytes);
    return { size: bytes.length, sha256: await sha256.digest() };
  }

  #remember(
    path: string,
    role: FileRole,
    { size, sha256 }: { readonly size: number; readonly sha256: string },
  ): void {
    if (!rewrittenByHubs.has(path)) this.files.push({ path, role, size, sha256 });
  }
}

/** Joins small parts of a text to chunks worth a write. */
function* inChunks(parts: Iterable<string>): Generator<Uint8Array> {
  let chunk = "";
  for (const part of parts) {
    chunk += part;
    if (chunk.length < 1 << 20) continue;
    yield Buffer.from(chunk);
    chunk = "";
  }
  yield Buffer.from(chunk);
}

async function attributes(source: SourceView): Promise<Uint8Array> {
  const existing = source.root.files.includes(".gitattributes")
    ? await readWholeFile(join(source.checkpoint.root, ".gitattributes"), 1024 * 1024)
    : new Uint8Array(0);
  const lineBreak = existing.length === 0 || existing.at(-1) === 0x0a ? "" : "\n";
  return Buffer.concat([existing, Buffer.from(`${lineBreak}${lowerAttributes}\n`)]);
}

function upperIndex({ source, plan }: Converted): string {
  const { shards } = source.checkpoint;
  return indexText(
    shards.map((shard, i) => ({
      file: pairFileNames(i, shards.length).upper,
      tensors: layoutPair(shard.header, (name) => plannedTensor(plan, name)).upper,
    })),
  );
}

/** @throws Error when the ignore list would let a stock engine misread a tensor: a bug, caught before it is written. */
function upperConfig({ source, plan }: Converted): Uint8Array {
  const isSplit = (name: string): boolean => plannedTensor(plan, name).action === "nest";
  const ignore = ignoreList(source.tensors, isSplit);
  const written = source.checkpoint.shards.flatMap(
    (shard) => layoutPair(shard.header, (name) => plannedTensor(plan, name)).upper,
  );
  const mistakes = quantizationMistakes(written, ignore);
  if (mistakes[0] !== undefined) throw new Error(`self-check of the ignore list: ${mistakes[0]}`);
  return withMember(source.config, "quantization_config", quantizationConfig(ignore));
}

function describe(converted: Converted, files: readonly ManifestFile[]): ManifestHead {
  const { source, plan, scans, tool } = converted;
  const { shards, index } = source.checkpoint;
  return {
    format: "nestedfp",
    format_version: formatVersion,
    tool,
    encoding,
    restorable: plan.restorable,
    source: {
      repo: source.origin?.repo ?? null,
      revision: source.origin?.revision ?? null,
      dtype: mainDtype(source),
      index: index?.name ?? null,
      files: shards.map((shard, i) => describeShard(shard.name, scans[i], i, shards.length)),
      omitted: source.root.omitted,
    },
    files,
    summary: summarise(source.tensors, (name) => plannedTensor(plan, name)),
  };
}

function describeShard(path: string, scan: ShardScan | undefined, index: number, count: number): SourceFile {
  if (scan === undefined) throw new Error(`no scan of ${path}`);
  const { size, sha256, headerSha256 } = scan;
  return { path, size, sha256, header_sha256: headerSha256, ...pairFileNames(index, count) };
}

function* describeTensors({ source, plan, scans, pairs }: Converted): Generator<ManifestTensor> {
  const scanned = scannedTensors(scans);
  const { shards } = source.checkpoint;
  for (const [i, shard] of shards.entries()) {
    for (const info of shard.header.tensors) {
      const { action, reason, patches } = plannedTensor(plan, info.name);
      const scan = scanned.get(info.name);
      yield {
        name: info.name,
        dtype: info.dtype,
        shape: info.shape,
        file: shard.name,
        offsets: info.dataOffsets,
        crc32: { source: crcText(scan?.crc32 ?? 0), ...checksumsOf(pairs[i], info.name) },
        planes: action === "nest" ? pairFileNames(i, shards.length) : null,
        max_abs: finiteMax(scan?.floats),
        max_shift: Math.min(scan?.floats?.maxShift ?? 0, maxRowShift + 1),
        patches,
        inexact: scan?.floats?.inexact ?? 0,
        underflow: scan?.floats?.underflow ?? 0,
        reason: reason ?? null,
      };
    }
  }
}

/** Empty for a tensor that is not split. The record comes from JSON, where a tensor may be called `__proto__`. */
function checksumsOf(pair: PairRecord | undefined, name: string): Partial<PlaneChecksums> {
  return (pair && Object.getOwnPropertyDescriptor(pair.checksums, name)?.value) ?? {};
}

/** The 16-bit type that most bytes of the source have. */
function mainDtype(source: SourceView): string | null {
  const bytes = new Map<string, number>();
  for (const { dtype, dataOffsets } of source.tensors) {
    bytes.set(dtype, (bytes.get(dtype) ?? 0) + dataOffsets[1] - dataOffsets[0]);
  }
  return [...bytes].sort(([a, x], [b, y]) => y - x || compareUtf8(a, b))[0]?.[0] ?? null;
}
