import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { compareUtf8 } from "../safetensors/compare-utf8.ts";
import { quote } from "../safetensors/quote.ts";
import type { Listener } from "./events.ts";

export type Omitted = { readonly path: string; readonly reason: string };

/** The files of a source directory beside its shards (FORMAT.md §3). */
export type SourceRoot = {
  /** Copied byte for byte; includes config.json, README.md and .gitattributes where they exist. Sorted. */
  readonly files: readonly string[];
  /** Left out, and why. Sorted by path. */
  readonly omitted: readonly Omitted[];
};

/** The reason of a file that somebody wanted here, but that cannot be had. */
const unreadable = "broken link";

const otherWeights = /\.(bin|gguf|onnx|h5|msgpack)$/;

/** Names that a checkpoint is made of. */
type CheckpointNames = {
  readonly index: { readonly name: string } | undefined;
  readonly shards: readonly { readonly name: string }[];
};

/** Lists the root of a checkpoint; links to regular files count as files, as the HF cache has them. */
export async function listSourceRoot(
  checkpoint: CheckpointNames & { readonly root: string },
): Promise<SourceRoot> {
  const used = usedNames(checkpoint);
  const files: string[] = [];
  const omitted: Omitted[] = [];
  for (const name of (await readdir(checkpoint.root)).sort(compareUtf8)) {
    if (used.has(name)) continue;
    const reason = await reasonToOmit(checkpoint.root, name);
    if (reason === undefined) files.push(name);
    else omitted.push({ path: name, reason });
  }
  return { files, omitted };
}

/**
 * As {@link listSourceRoot}, from the paths of all files of a repository: of what a cache folder holds, nobody knows
 * whether it is all, or more than one program's.
 */
export function chooseSourceRoot(checkpoint: CheckpointNames, paths: readonly string[]): SourceRoot {
  const used = usedNames(checkpoint);
  const files: string[] = [];
  const omitted: Omitted[] = [];
  const entries = new Map(paths.map((path) => [path.split("/", 1)[0] ?? "", path.includes("/")]));
  for (const [name, isFolder] of [...entries].sort(([a], [b]) => compareUtf8(a, b))) {
    if (used.has(name)) continue;
    const reason = isFolder ? "sub-folder" : reasonByName(name);
    if (reason === undefined) files.push(name);
    else omitted.push({ path: name, reason });
  }
  return { files, omitted };
}

function usedNames({ shards, index }: CheckpointNames): ReadonlySet<string> {
  return new Set([...shards.map(({ name }) => name), ...(index ? [index.name] : [])]);
}

/** What is left out although somebody wanted it here: a link that leads nowhere, or a name that cannot be read. */
export function warnOfUnreadable({ omitted }: SourceRoot, listener: Listener): void {
  for (const { path } of omitted.filter(({ reason }) => reason === unreadable)) {
    const message = `${quote(path)} is not copied: it is a link that leads nowhere, or has a name that cannot be read`;
    listener({ type: "warning", message });
  }
}

async function reasonToOmit(root: string, name: string): Promise<string | undefined> {
  const status = await stat(join(root, name)).catch(() => undefined);
  if (status === undefined) return unreadable;
  if (status.isDirectory()) return "sub-folder";
  if (!status.isFile()) return "not a regular file";
  return reasonByName(name);
}

function reasonByName(name: string): string | undefined {
  if (name.endsWith(".index.json")) return "unused index";
  if (name.endsWith(".safetensors")) return "not named by the index";
  if (name.startsWith("consolidated") || otherWeights.test(name)) return "other weight format";
  return undefined;
}
