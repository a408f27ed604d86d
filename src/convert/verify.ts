import { join } from "node:path";
import { concurrently } from "../concurrency/concurrently.ts";
import { FormatError } from "../errors.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import type { RunSettings } from "./analyse.ts";
import { checkAgainst } from "./check-against.ts";
import { checkContents, checkFiles } from "./check-files.ts";
import { checkManifest } from "./check-manifest.ts";
import type { Problem } from "./check-pair.ts";
import { checkPair } from "./check-pair.ts";
import { checkStructure } from "./check-structure.ts";
import { largestManifest, refuseUnconverted } from "./converted-directory.ts";
import { step } from "./events.ts";
import type { Manifest, SourceFile } from "./manifest.ts";
import { manifestName, parseManifest, UnknownVersionError } from "./manifest.ts";
import { openPair } from "./pair.ts";
import { BlockBuffers } from "./run-context.ts";
import type { SourceLocation } from "./source.ts";

/** `quick`: presence, sizes, headers, index, configuration. `default`: also sha256. `deep`: also every word. */
export type VerifyLevel = "quick" | "default" | "deep";

export type VerifyOptions = {
  readonly level: VerifyLevel;
  /** Lower files may be absent. */
  readonly fp8Only?: boolean;
  /** A source checkpoint to compare with. */
  readonly against?: SourceLocation | undefined;
};

export type VerifyResult = {
  readonly ok: boolean;
  readonly level: VerifyLevel;
  readonly problems: readonly Problem[];
};

/**
 * Checks a converted directory. Defects become problems, all of them, not only the first.
 *
 * @throws FormatError when it is no nestedfp directory, is of an unknown version, or `against` cannot be opened.
 */
export async function verifyDirectory(
  path: string,
  options: VerifyOptions,
  settings: RunSettings,
): Promise<VerifyResult> {
  await refuseUnconverted(path);
  const result = (problems: readonly Problem[]): VerifyResult => ({
    ok: problems.length === 0,
    level: options.level,
    problems,
  });
  const manifest = await readManifest(path);
  if ("kind" in manifest) return result([manifest]);

  const directory = { path, manifest };
  const fp8Only = options.fp8Only ?? false;
  announce(manifest, options.level, settings);
  const { problems, usable } = await checkFiles(directory, fp8Only);
  problems.push(...checkManifest(manifest));
  problems.push(...(await checkStructure(directory, usable)));
  if (options.level !== "quick") problems.push(...(await checkContents(directory, usable, settings)));
  if (options.level === "deep") problems.push(...(await checkWords(directory, usable, settings)));
  if (options.against !== undefined)
    problems.push(...(await checkAgainst(directory, options.against, settings)));
  return result(problems);
}

/** The manifest, or the problem that it cannot be read. */
async function readManifest(path: string): Promise<Manifest | Problem> {
  try {
    const bytes = await readWholeFile(join(path, manifestName), largestManifest);
    return parseManifest(bytes, manifestName);
  } catch (error) {
    if (!(error instanceof FormatError) || error instanceof UnknownVersionError) throw error;
    return { file: manifestName, kind: "manifest", message: error.message };
  }
}

function announce(manifest: Manifest, level: VerifyLevel, settings: RunSettings): void {
  const listed = manifest.files.reduce((sum, file) => sum + file.size, 0);
  const source = manifest.source.files.reduce((sum, file) => sum + file.size, 0);
  const bytes = { quick: 0, default: listed, deep: listed + source }[level];
  settings.listener({ type: "total", bytes });
}

/** Rebuilds every source word of the pairs that are there whole. */
async function checkWords(
  { path, manifest }: { readonly path: string; readonly manifest: Manifest },
  usable: ReadonlySet<string>,
  settings: RunSettings,
): Promise<Problem[]> {
  const tensors = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
  const crcOf = (name: string): string | undefined => {
    const tensor = tensors.get(name);
    const lost =
      !manifest.restorable && tensor?.planes && (tensor.dtype === "F32" || tensor.inexact > tensor.patches);
    return lost ? undefined : tensor?.crc32.source;
  };
  const shards = manifest.source.files.filter(({ upper, lower }) => usable.has(upper) && usable.has(lower));
  const { codec, budget, listener } = settings;
  const found = await concurrently(shards, budget.workers, settings.signal, () => {
    const buffers = new BlockBuffers(budget.blockBytes);
    return (shard, _, signal) =>
      step(listener, "rebuild", shard.path, shard.size, (onBytes) =>
        checkShard(path, shard, crcOf, { codec, buffers, signal, onBytes }),
      );
  });
  return found.flat();
}

async function checkShard(
  path: string,
  shard: SourceFile,
  crcOf: (name: string) => string | undefined,
  context: Parameters<typeof checkPair>[2],
): Promise<Problem[]> {
  const pair = await openPair(join(path, shard.upper), join(path, shard.lower), shard.size).catch(
    asProblem(shard.lower),
  );
  if ("kind" in pair) return [pair];
  try {
    const names = { upperFile: shard.upper, lowerFile: shard.lower, sourceFile: shard.path };
    return await checkPair(pair, { ...names, sha256: shard.sha256, crcOf, deep: true }, context);
  } finally {
    await pair.close();
  }
}

function asProblem(file: string): (error: unknown) => Problem {
  return (error) => {
    if (error instanceof FormatError) return { file, kind: "rebuild", message: error.message };
    throw error;
  };
}
