import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { concurrently } from "../concurrency/concurrently.ts";
import { FormatError } from "../errors.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import { openShard, readWholeFile } from "../safetensors/reader.ts";
import type { RunSettings } from "./analyse.ts";
import type { Problem } from "./check-pair.ts";
import type { ConvertedDirectory } from "./converted-directory.ts";
import { step } from "./events.ts";
import { hashFile } from "./hash-file.ts";
import { planeNames } from "./layout.ts";
import type { Manifest, ManifestFile, ManifestTensor } from "./manifest.ts";
import { crcText, manifestName } from "./manifest.ts";
import { piecesOf, readAhead } from "./pieces.ts";
import type { RunContext } from "./run-context.ts";
import { BlockBuffers } from "./run-context.ts";
import type { Sum } from "./sums.ts";
import { parseSums, sumsName } from "./sums.ts";

/** Problems, and the listed files that are there with the right size. */
export type FilesFound = { readonly problems: Problem[]; readonly usable: ReadonlySet<string> };

/** Presence and size of every listed file, SHA256SUMS against the manifest, and files that must not be there. */
export async function checkFiles(directory: ConvertedDirectory, fp8Only: boolean): Promise<FilesFound> {
  const { path, manifest } = directory;
  const problems: Problem[] = [];
  const usable = new Set<string>();
  for (const file of manifest.files) {
    const status = await stat(join(path, file.path)).catch(() => undefined);
    if (status === undefined && fp8Only && file.role === "lower") continue;
    if (!status?.isFile()) {
      problems.push({ file: file.path, kind: "missing", message: status ? "is not a file" : "is missing" });
    } else if (status.size !== file.size) {
      problems.push({ file: file.path, kind: "size", message: `has ${status.size} bytes, not ${file.size}` });
    } else {
      usable.add(file.path);
    }
  }
  problems.push(...(await checkSums(directory, fp8Only)), ...(await findForeign(path, manifest)));
  return { problems, usable };
}

async function checkSums({ path, manifest }: ConvertedDirectory, fp8Only: boolean): Promise<Problem[]> {
  const wrong = (message: string): Problem => ({ file: sumsName, kind: "sums", message });
  let sums: readonly Sum[];
  try {
    sums = parseSums(Buffer.from(await readWholeFile(join(path, sumsName), 64 * 1024 * 1024)).toString());
  } catch (error) {
    if (error instanceof FormatError) return [wrong(error.message)];
    throw error;
  }
  const listed = new Map(sums.map((sum) => [sum.path, sum.sha256]));
  const problems = manifest.files
    .filter(
      (file) =>
        listed.get(file.path) !== file.sha256 &&
        !(fp8Only && file.role === "lower" && !listed.has(file.path)),
    )
    .map((file) =>
      wrong(
        `has ${listed.get(file.path) ?? "no line"} for ${JSON.stringify(file.path)}, the manifest ${file.sha256}`,
      ),
    );
  const known = new Set([manifestName, ...manifest.files.map((file) => file.path)]);
  for (const { path: name } of sums) {
    if (!known.has(name)) problems.push(wrong(`lists ${JSON.stringify(name)}, which the manifest does not`));
  }
  if (!listed.has(manifestName)) problems.push(wrong(`has no line for ${manifestName}`));
  return problems;
}

const weightFile = /\.(safetensors|bin|index\.json|nfp)$/;

/** Files that an engine would load beside ours, or would take for its configuration (FORMAT.md §3). */
async function findForeign(path: string, manifest: Manifest): Promise<Problem[]> {
  const listed = new Set(manifest.files.map((file) => file.path));
  const inFolder = await readdir(join(path, "nestedfp"));
  const names = [...(await readdir(path)), ...inFolder.map((name) => `nestedfp/${name}`)];
  return names
    .filter(
      (name) =>
        !listed.has(name) &&
        (weightFile.test(name) || name === "hf_quant_config.json" || name === ".nestedfp"),
    )
    .map((file) => ({ file, kind: "unexpected", message: "is not part of the conversion" }));
}

/** SHA-256 of every usable file; a weight file that differs is searched for the damaged tensors. */
export async function checkContents(
  directory: ConvertedDirectory,
  usable: ReadonlySet<string>,
  settings: RunSettings,
): Promise<Problem[]> {
  const { path, manifest } = directory;
  const { codec, budget, listener } = settings;
  const files = manifest.files.filter((file) => usable.has(file.path));
  const found = await concurrently(files, budget.workers, settings.signal, () => {
    const buffers = new BlockBuffers(budget.blockBytes);
    return async (file, _, signal) => {
      const context = (onBytes: (bytes: number) => void): RunContext => ({ codec, buffers, signal, onBytes });
      const hashed = await step(listener, "hash", file.path, file.size, (onBytes) =>
        hashFile(join(path, file.path), context(onBytes)).catch(unreadable(file.path)),
      );
      if ("kind" in hashed) return [hashed];
      const { sha256 } = hashed;
      if (sha256 === file.sha256) return [];
      return findDamage(
        directory,
        file,
        sha256,
        context(() => undefined),
      );
    };
  });
  return [...found.flat(), ...(await checkManifestHash(directory, settings))];
}

/** A listed file that cannot be read is a defect of the directory, not a wrong input. */
function unreadable(file: string): (error: unknown) => Problem {
  return (error) => {
    if (error instanceof FormatError) return { file, kind: "missing", message: error.message };
    throw error;
  };
}

async function checkManifestHash({ path }: ConvertedDirectory, settings: RunSettings): Promise<Problem[]> {
  const text = await readWholeFile(join(path, sumsName), 64 * 1024 * 1024).catch(() => undefined);
  if (text === undefined) return [];
  const listed = listedManifestHash(Buffer.from(text).toString());
  const { codec, signal, budget } = settings;
  const buffers = new BlockBuffers(budget.blockBytes);
  const { sha256 } = await hashFile(join(path, manifestName), {
    codec,
    signal,
    buffers,
    onBytes: () => undefined,
  });
  if (listed === undefined || listed === sha256) return [];
  return [
    { file: manifestName, kind: "sha256", message: `has sha256 ${sha256}, ${sumsName} says ${listed}` },
  ];
}

/** What SHA256SUMS says of the manifest; that it cannot be read is `checkSums`' finding. */
function listedManifestHash(sums: string): string | undefined {
  try {
    return parseSums(sums).find((sum) => sum.path === manifestName)?.sha256;
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** Names the tensors of a damaged file by their checksums; the file as a whole when none of them is hit. */
async function findDamage(
  { path, manifest }: ConvertedDirectory,
  file: ManifestFile,
  sha256: string,
  context: RunContext,
): Promise<Problem[]> {
  const whole: Problem = {
    file: file.path,
    kind: "sha256",
    message: `has sha256 ${sha256}, not ${file.sha256}`,
  };
  if (file.role !== "upper" && file.role !== "lower") return [whole];
  const shard = await openShard(join(path, file.path)).catch(() => undefined);
  if (shard === undefined) return [whole];
  try {
    const expected = checksumsOf(manifest, file);
    const problems: Problem[] = [];
    for (const info of shard.header.tensors) {
      const wanted = expected.get(info.name);
      if (wanted === undefined) continue;
      let crc32 = 0;
      const pieces = piecesOf(info, context.buffers.blockBytes);
      for await (const { bytes } of readAhead(shard, pieces, context))
        crc32 = await context.codec.crc32(bytes, crc32);
      if (crcText(crc32) === wanted) continue;
      const message = `has CRC-32 ${crcText(crc32)}, not ${wanted} (sha256 of the file ${sha256}, not ${file.sha256})`;
      problems.push({
        file: file.path,
        tensor: info.name,
        range: rangeOf(info, shard.header.headerBytes),
        kind: "sha256",
        message,
      });
    }
    return problems.length > 0 ? problems : [whole];
  } finally {
    await shard.close();
  }
}

function rangeOf(info: TensorInfo, headerBytes: number): readonly [number, number] {
  return [headerBytes + info.dataOffsets[0], headerBytes + info.dataOffsets[1]];
}

/** CRC-32 by the name that a tensor has in an upper or lower file. */
function checksumsOf(manifest: Manifest, file: ManifestFile): ReadonlyMap<string, string> {
  const source = manifest.source.files.find(({ upper, lower }) => upper === file.path || lower === file.path);
  const tensors = manifest.tensors.filter((tensor) => tensor.file === source?.path);
  return new Map(tensors.flatMap((tensor) => storedChecksums(tensor, file.role === "upper")));
}

function storedChecksums({ name, planes, crc32 }: ManifestTensor, inUpper: boolean): [string, string][] {
  if (planes === null) return inUpper ? [[name, crc32.source]] : [];
  const names = planeNames(name);
  const keys = inUpper ? (["upper", "scale"] as const) : (["lower", "patch_index", "patch_value"] as const);
  return keys.flatMap((key) => {
    const checksum = crc32[key];
    return checksum === undefined ? [] : [[names[key], checksum]];
  });
}
