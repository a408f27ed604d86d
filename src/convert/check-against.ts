import { join } from "node:path";
import { concurrently } from "../concurrency/concurrently.ts";
import { openCheckpoint } from "../safetensors/checkpoint.ts";
import type { RunSettings } from "./analyse.ts";
import type { Problem } from "./check-pair.ts";
import type { ConvertedDirectory } from "./converted-directory.ts";
import { step } from "./events.ts";
import { hashFile } from "./hash-file.ts";
import type { RunContext } from "./run-context.ts";
import { BlockBuffers } from "./run-context.ts";
import { pathAndOrigin, rootOf, type SourceLocation } from "./source.ts";

/**
 * Compares a directory with a source checkpoint: the shards by the SHA-256 that the manifest has of them, the other
 * files by that of their copies. Together with a deep check this proves that restore gives this source.
 *
 * @throws FormatError when the source cannot be opened
 */
export async function checkAgainst(
  { manifest }: ConvertedDirectory,
  source: SourceLocation,
  settings: RunSettings,
): Promise<Problem[]> {
  const { path, origin } = pathAndOrigin(source);
  const checkpoint = await openCheckpoint(path);
  try {
    const { files } = await rootOf(checkpoint, origin);
    const names = [...checkpoint.shards.map((shard) => shard.name), ...files];
    if (checkpoint.index) names.push(checkpoint.index.name);
    const wanted = expectedHashes(manifest);
    const { codec, budget, listener } = settings;
    const found = await concurrently(names, budget.workers, settings.signal, () => {
      const buffers = new BlockBuffers(budget.blockBytes);
      return async (name, _, signal): Promise<Problem[]> => {
        const expected = wanted.get(name);
        if (expected === undefined)
          return [{ file: name, kind: "source", message: "is in the source, but not in the conversion" }];
        const size = checkpoint.shards.find((shard) => shard.name === name)?.size ?? 0;
        const { sha256 } = await step(listener, "hash", name, size, (onBytes) => {
          const context: RunContext = { codec, buffers, signal, onBytes };
          return hashFile(join(checkpoint.root, name), context);
        });
        if (sha256 === expected) return [];
        const message = `has sha256 ${sha256} in the source, the conversion was made from ${expected}`;
        return [{ file: name, kind: "source", message }];
      };
    });
    const present = new Set(names);
    const missing = [...wanted.keys()].filter((name) => !present.has(name));
    const gone = missing.map(
      (file): Problem => ({ file, kind: "source", message: "was in the source, and is not now" }),
    );
    return [...found.flat(), ...gone];
  } finally {
    await checkpoint.close();
  }
}

/** SHA-256 by the name that a file had in the source. */
function expectedHashes(manifest: ConvertedDirectory["manifest"]): ReadonlyMap<string, string> {
  const hashes = new Map(manifest.source.files.map((file) => [file.path, file.sha256]));
  for (const { path, role, sha256 } of manifest.files) {
    if (role === "verbatim") hashes.set(path, sha256);
    if (role === "source") hashes.set(sourceName(path, manifest.source.index), sha256);
  }
  return hashes;
}

/** `nestedfp/source/config.json` -> `config.json`; the index lost a `.txt`. */
export function sourceName(path: string, index: string | null): string {
  const name = path.slice("nestedfp/source/".length);
  return index !== null && name === `${index}.txt` ? index : name;
}
