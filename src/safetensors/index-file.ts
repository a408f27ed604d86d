import { basename } from "node:path";

import { FormatError } from "../errors.ts";
import { compareUtf8 } from "./compare-utf8.ts";
import { readWholeFile } from "./input-file.ts";
import { type JsonValue, parseValue } from "./json.ts";
import { JsonScanner } from "./json-scanner.ts";
import { quote } from "./quote.ts";

export type SafetensorsIndex = {
  /** Tensor name -> the file name of its shard. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** Each shard once, in UTF-8 order. */
  readonly shardNames: readonly string[];
  /** `metadata`, most often with a total_size; undefined when there is none. */
  readonly metadata: JsonValue | undefined;
};

const maxIndexBytes = 100_000_000;

/**
 * Reads a model.safetensors.index.json.
 * @param label the name that errors about the content show (default: the file name)
 * @throws FormatError when it cannot be read or breaks a rule of FORMAT.md §9
 */
export async function readIndex(path: string, label = basename(path)): Promise<SafetensorsIndex> {
  return parseIndex(await readWholeFile(path, maxIndexBytes), label);
}

/** As {@link readIndex}, from the bytes of the file. */
export function parseIndex(bytes: Uint8Array, file: string): SafetensorsIndex {
  const refuse = (problem: string, hint = damaged) => new FormatError(`${quote(file)}: ${problem}`, { hint });
  const scanner = new JsonScanner(bytes, file);
  const weightMap = new Map<string, string>();
  // Many tensors share few names: one string each, checked once.
  const shards = new Map<string, string>();
  const fields = new Map<string, JsonValue>();

  if (scanner.kind() !== "object") throw refuse(`the index is ${scanner.kind()}, not an object`);
  scanner.object((key) => {
    if (key === "weight_map") readWeightMap();
    else fields.set(key, parseValue(scanner));
  });
  scanner.end();
  if (weightMap.size === 0) throw refuse("the index has no weight_map that names a tensor");
  return {
    weightMap,
    shardNames: [...shards.keys()].sort(compareUtf8),
    metadata: fields.get("metadata"),
  };

  function readWeightMap(): void {
    if (scanner.kind() !== "object") throw refuse(`weight_map is ${scanner.kind()}, not an object`);
    scanner.object((tensor) => {
      if (scanner.kind() !== "string") {
        throw refuse(`weight_map has ${scanner.kind()} for tensor ${quote(tensor)}, not a file name`);
      }
      const name = scanner.string();
      const known = shards.get(name);
      if (known === undefined) {
        const problem = fileNameProblem(name);
        if (problem !== undefined) {
          throw refuse(
            `weight_map puts tensor ${quote(tensor)} in ${quote(name)}, which ${problem}`,
            "every shard must be a plain file name in the directory of the index: do not trust this checkpoint",
          );
        }
        shards.set(name, name);
      }
      weightMap.set(tensor, known ?? name);
    });
  }
}

const damaged = "the index is damaged or is another file under this name: download it again";

/**
 * Why a name from an input is not a plain file name that means the same file, in the same directory, on every
 * system; undefined when it is one.
 */
export function fileNameProblem(name: string): string | undefined {
  if (name === "") return "is empty";
  if (name === "." || name === "..") return "is a directory";
  if (/[/\\]/.test(name)) return "holds a path separator";
  if (/\p{Cc}/u.test(name)) return "holds a control character";
  if (/[<>:"|?*]/.test(name)) return "holds a character that Windows reserves";
  if (/[. ]$/.test(name)) return "ends with a dot or a space";
  if (/^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)/i.test(name)) return "is a device name on Windows";
  if (Buffer.byteLength(name) > 255) return "is longer than 255 bytes";
  return undefined;
}
