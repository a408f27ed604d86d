import { join } from "node:path";
import { concurrently } from "../concurrency/concurrently.ts";
import { CheckError, FormatError } from "../errors.ts";
import { refuseFullDisk } from "../safetensors/disk-space.ts";
import { quote } from "../safetensors/quote.ts";
import { AtomicFile } from "../safetensors/writer.ts";
import type { RunSettings } from "./analyse.ts";
import { sourceName } from "./check-against.ts";
import type { ConvertedDirectory } from "./converted-directory.ts";
import { openConverted, refuseAbsentLower } from "./converted-directory.ts";
import { step } from "./events.ts";
import { copyHashed } from "./hash-file.ts";
import type { Manifest, ManifestFile, SourceFile } from "./manifest.ts";
import type { ExistingPolicy } from "./output-directory.ts";
import { OutputDirectory } from "./output-directory.ts";
import { openPair } from "./pair.ts";
import { rebuildSource } from "./rebuild.ts";
import type { RunContext } from "./run-context.ts";
import { BlockBuffers } from "./run-context.ts";
import { refuseOverlap } from "./source.ts";

export type RestoreResult = {
  readonly output: string;
  /** Restored files, every one with the sha256 that the source had. */
  readonly files: readonly { readonly path: string; readonly size: number; readonly sha256: string }[];
  /** What the conversion left out, and why. */
  readonly omitted: Manifest["source"]["omitted"];
  readonly seconds: number;
};

/**
 * Gives the source back, every file byte for byte.
 *
 * @throws CheckError when a file does not get the sha256 of the source: it is not written.
 * @throws FormatError for a directory that is not restorable, or that lacks its lower files.
 */
export async function restore(
  path: string,
  output: string,
  existing: Exclude<ExistingPolicy, "resume">,
  settings: RunSettings,
): Promise<RestoreResult> {
  const started = performance.now();
  const converted = await openConverted(path);
  const { manifest } = converted;
  if (!manifest.restorable) {
    throw new FormatError(`${quote(path)} cannot be restored: it was converted with loss`, {
      hint: "`nestedfp export DIR --to fp16` writes what it has as an FP16 checkpoint",
    });
  }
  await refuseAbsentLower(converted);
  await refuseOverlap(path, output);
  const others = filesToCopy(manifest);
  const bytes = [...manifest.source.files, ...others].reduce((sum, file) => sum + file.size, 0);
  settings.listener({ type: "total", bytes });
  const directory = await OutputDirectory.open(output, existing, "restore");
  try {
    await directory.claim();
    await refuseFullDisk(output, bytes);
    await restoreShards(converted, directory, settings);
    await copyFiles(converted, others, directory, settings);
    await directory.finish();
  } catch (error) {
    await directory.undo();
    throw error;
  }
  const files = [...manifest.source.files, ...others.map((file) => ({ ...file, path: file.target }))].map(
    ({ path: name, size, sha256 }) => ({ path: name, size, sha256 }),
  );
  return { output, files, omitted: manifest.source.omitted, seconds: (performance.now() - started) / 1000 };
}

type CopiedFile = ManifestFile & { readonly target: string };

/** Files of the source that were kept as they are, and their names there. */
function filesToCopy(manifest: Manifest): CopiedFile[] {
  const sources = new Set<string>();
  const copies: CopiedFile[] = [];
  for (const file of manifest.files) {
    if (file.role !== "source") continue;
    const target = sourceName(file.path, manifest.source.index);
    sources.add(target);
    copies.push({ ...file, target });
  }
  for (const file of manifest.files) {
    if (file.role === "verbatim" && !sources.has(file.path)) copies.push({ ...file, target: file.path });
  }
  return copies;
}

async function restoreShards(
  { path, manifest }: ConvertedDirectory,
  directory: OutputDirectory,
  settings: RunSettings,
): Promise<void> {
  const { codec, budget, listener, signal } = settings;
  await concurrently(manifest.source.files, budget.workers, signal, () => {
    const buffers = new BlockBuffers(budget.blockBytes);
    return (shard, _, stop) =>
      step(listener, "rebuild", shard.path, shard.size, (onBytes) =>
        restoreShard(
          path,
          shard,
          directory.temporaryPath(shard.path),
          { codec, buffers, signal: stop, onBytes },
          (file) => directory.place(shard.path, (final) => file.commit(final)),
        ),
      );
  });
}

/**
 * Rebuilds one source shard from its pair.
 *
 * @param commit gives the finished file its name
 * @throws CheckError when it has not the sha256 of the source
 */
export async function restoreShard(
  root: string,
  shard: Omit<SourceFile, "header_sha256">,
  temporaryPath: string,
  context: RunContext,
  commit: (file: AtomicFile) => Promise<void>,
): Promise<void> {
  const pair = await openPair(join(root, shard.upper), join(root, shard.lower), shard.size);
  try {
    const file = await AtomicFile.create(temporaryPath);
    try {
      const sha256 = context.codec.sha256();
      let position = pair.sourceHeader.length;
      await Promise.all([sha256.update(pair.sourceHeader), file.write(pair.sourceHeader, 0)]);
      for await (const { bytes } of rebuildSource(pair, context)) {
        await Promise.all([sha256.update(bytes), file.write(bytes, position)]);
        position += bytes.length;
        context.onBytes(bytes.length);
      }
      refuseWrongHash(shard.path, shard.sha256, await sha256.digest());
      await commit(file);
    } catch (error) {
      await file.abort();
      throw error;
    }
  } finally {
    await pair.close();
  }
}

async function copyFiles(
  { path }: ConvertedDirectory,
  files: readonly CopiedFile[],
  directory: OutputDirectory,
  settings: RunSettings,
): Promise<void> {
  const buffers = new BlockBuffers(settings.budget.blockBytes);
  const { codec, signal, listener } = settings;
  for (const { path: from, target, size, sha256 } of files) {
    await step(listener, "copy", target, size, async (onBytes) => {
      const context = { codec, signal, buffers, onBytes };
      const copied = await copyHashed(join(path, from), directory.temporaryPath(target), context);
      try {
        refuseWrongHash(target, sha256, copied.sha256);
        await directory.place(target, (final) => copied.file.commit(final));
      } catch (error) {
        await copied.file.abort();
        throw error;
      }
    });
  }
}

/** @throws CheckError */
function refuseWrongHash(file: string, expected: string, actual: string): void {
  if (actual === expected) return;
  throw new CheckError(`${quote(file)} would be restored with sha256 ${actual}, the source had ${expected}`, {
    hint: "the directory is damaged: `nestedfp verify DIR` names the tensor",
  });
}
