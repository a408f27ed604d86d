import { copyFile, link, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { compareUtf8 } from "../safetensors/compare-utf8.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { inputError, outputError, systemCode } from "../safetensors/system-error.ts";
import type { RunSettings } from "./analyse.ts";
import type { ConvertedDirectory } from "./converted-directory.ts";
import { step } from "./events.ts";
import { manifestName } from "./manifest.ts";
import type { OutputDirectory } from "./output-directory.ts";
import { parseSums, sumsName, sumsText } from "./sums.ts";

export type ExportedFile = { readonly path: string; readonly size: number };

/**
 * The FP8 view alone: every file but the lower ones, as hard links where the file system can, else as copies. The
 * manifest stays as it is, SHA256SUMS loses the lower lines; the result passes `verify --fp8-only`.
 */
export async function exportFp8Only(
  { path, manifest }: ConvertedDirectory,
  directory: OutputDirectory,
  settings: RunSettings,
): Promise<ExportedFile[]> {
  const lower = new Set(manifest.files.filter(({ role }) => role === "lower").map((file) => file.path));
  const listed = manifest.files.map((file) => file.path).filter((name) => !lower.has(name));
  const unlisted = await present(path, ["README.md", ".gitattributes", manifestName]);
  // config.json last: it makes the directory loadable.
  const names = [...listed, ...unlisted].sort((a, b) => last(a) - last(b) || compareUtf8(a, b));
  const sums = parseSums(Buffer.from(await readWholeFile(join(path, sumsName), 64 * 1024 * 1024)).toString());
  await directory.writeFile(sumsName, Buffer.from(sumsText(sums.filter((sum) => !lower.has(sum.path)))));

  const exported: ExportedFile[] = [];
  for (const name of names) {
    settings.signal.throwIfAborted();
    const { from, size } = await resolveFile(join(path, name));
    await step(settings.listener, "copy", name, size, async (onBytes) => {
      await linkOrCopy(from, directory, name);
      onBytes(size);
    });
    exported.push({ path: name, size });
  }
  return exported;
}

function last(name: string): number {
  return name === "config.json" ? 1 : 0;
}

async function present(root: string, names: readonly string[]): Promise<string[]> {
  const found = await Promise.all(names.map((name) => stat(join(root, name)).catch(() => undefined)));
  return names.filter((_, i) => found[i]?.isFile());
}

/** Where a file really is: a hard link to a symbolic one, as the HF cache has them, would lead nowhere. */
async function resolveFile(path: string): Promise<{ readonly from: string; readonly size: number }> {
  try {
    const from = await realpath(path);
    return { from, size: (await stat(from)).size };
  } catch (error) {
    throw inputError(error, path);
  }
}

async function linkOrCopy(from: string, directory: OutputDirectory, name: string): Promise<void> {
  const temporary = directory.temporaryPath(name);
  try {
    await link(from, temporary).catch(async (error) => {
      // Another file system, or one without links, or a source that may not be linked to.
      if (!["EXDEV", "EPERM", "ENOTSUP", "EMLINK", "EACCES"].includes(systemCode(error))) throw error;
      await copyFile(from, temporary);
    });
  } catch (error) {
    throw outputError(error, directory.finalPath(name));
  }
  await directory.placeFile(name, temporary);
}
