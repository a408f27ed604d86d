import { readdir } from "node:fs/promises";

import { FormatError } from "../errors.ts";
import { compareUtf8 } from "./compare-utf8.ts";
import { quote } from "./quote.ts";
import { inputError } from "./system-error.ts";

/**
 * Picks the file of a directory that a checkpoint is opened by, as transformers does: model.safetensors wins over
 * model.safetensors.index.json; beyond that, a lone index, then a lone .safetensors, of any name.
 * @returns a file name in the directory
 * @throws FormatError that says what was found instead
 */
export async function findCheckpointFile(directory: string): Promise<string> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw inputError(error, directory);
  });
  return chooseCheckpointFile(names, directory);
}

/**
 * As {@link findCheckpointFile}, among names that are known already.
 * @param directory what holds them, for errors
 */
export function chooseCheckpointFile(names: readonly string[], directory: string): string {
  // Names with a dot first are not the model's: macOS leaves `._model.safetensors` on foreign disks.
  const visible = names.filter((name) => !name.startsWith(".")).sort(compareUtf8);
  const indexes = visible.filter((name) => name.endsWith(".safetensors.index.json"));
  const files = visible.filter((name) => name.endsWith(".safetensors"));

  for (const name of ["model.safetensors", "model.safetensors.index.json"]) {
    if (visible.includes(name)) return name;
  }
  const [lone] = indexes.length > 0 ? indexes : files;
  if (lone !== undefined && (indexes.length === 1 || (indexes.length === 0 && files.length === 1)))
    return lone;

  if (indexes.length > 1) {
    throw new FormatError(`${quote(directory)} holds ${indexes.length} indexes: ${list(indexes)}`, {
      hint: "name the index to use instead of the directory",
    });
  }
  if (files.length > 1) {
    throw new FormatError(
      `${quote(directory)} holds ${files.length} .safetensors files but no index: ${list(files)}`,
      { hint: "fetch model.safetensors.index.json, or name one of the files" },
    );
  }
  throw new FormatError(`${quote(directory)} holds no safetensors: ${describe(visible)}`, {
    hint: adviceFor(visible) ?? "name the directory that holds the .safetensors files",
  });
}

/** What to do about weights in another format; undefined when no name shows one. */
export function adviceFor(names: readonly string[]): string | undefined {
  for (const [ending, advice] of otherFormats) {
    if (names.some((name) => ending.test(name))) return advice;
  }
  return undefined;
}

const saveAsSafetensors =
  "PyTorch weights are not read: load them with transformers and save with safe_serialization=True";

const otherFormats: readonly (readonly [RegExp, string])[] = [
  [/\.gguf$/i, "GGUF is already quantised: use the safetensors checkpoint that it was made from"],
  [/\.(?:bin|pt|pth|bin\.index\.json)$/i, saveAsSafetensors],
  [/\.(?:h5|msgpack|onnx)$/i, "only safetensors are read: use the safetensors files of this model"],
];

function describe(names: readonly string[]): string {
  const weights = names.filter((name) => adviceFor([name]) !== undefined);
  if (weights.length > 0) return `found ${list(weights)}`;
  return names.length === 0 ? "it is empty" : `found ${list(names)}`;
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 5).map(quote).join(", ");
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
