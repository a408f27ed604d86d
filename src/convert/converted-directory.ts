import { stat } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { systemCode } from "../safetensors/system-error.ts";
import type { Manifest } from "./manifest.ts";
import { manifestName, parseManifest } from "./manifest.ts";

/** A directory that a conversion finished. */
export type ConvertedDirectory = { readonly path: string; readonly manifest: Manifest };

// 10 million tensors would fit; a manifest of a 400B model with separate experts has about 40 MB.
export const largestManifest = 512 * 1024 * 1024;

/** @throws FormatError for a manifest that is not to be read into memory */
export function refuseLargeManifest(bytes: number): void {
  if (bytes <= largestManifest) return;
  throw new FormatError(`${manifestName} has ${bytes} bytes, more than the limit of ${largestManifest}`, {
    hint: "this is not a file of the kind that its name says",
  });
}

/** True when there is a manifest, readable or not. */
export async function isConverted(path: string): Promise<boolean> {
  return stat(join(path, manifestName)).then(
    (status) => status.isFile(),
    () => false,
  );
}

/** @throws FormatError when the directory is not a nestedfp directory, or its manifest is damaged or too new. */
export async function openConverted(path: string): Promise<ConvertedDirectory> {
  await refuseUnconverted(path);
  const bytes = await readWholeFile(join(path, manifestName), largestManifest);
  return { path, manifest: parseManifest(bytes, manifestName) };
}

/** @throws FormatError when a lower file is not there: what gives the source back needs all of them. */
export async function refuseAbsentLower({ path, manifest }: ConvertedDirectory): Promise<void> {
  for (const { lower } of manifest.source.files) {
    const status = await stat(join(path, lower)).catch((error) => error);
    if (systemCode(status) !== "ENOENT") continue;
    throw new FormatError(
      `${quote(path)} has no ${quote(lower)}, which holds the lower halves of its words`,
      {
        hint: "an FP8-only export lacks these files: use the directory that it was made from",
      },
    );
  }
}

/** @throws FormatError when the directory has no manifest. */
export async function refuseUnconverted(path: string): Promise<void> {
  if (await isConverted(path)) return;
  const exists = await stat(path).catch(() => undefined);
  const unfinished = await stat(join(path, ".nestedfp")).catch(() => undefined);
  throw new FormatError(
    exists
      ? `${quote(path)} is not a nestedfp directory: it has no ${manifestName}`
      : `${quote(path)} does not exist`,
    {
      hint: unfinished
        ? "its conversion is not finished: run `nestedfp convert` again with --resume"
        : "give a directory that `nestedfp convert` wrote",
    },
  );
}
