import { realpath } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { FormatError, UsageError } from "../errors.ts";
import type { Checkpoint } from "../safetensors/checkpoint.ts";
import { openCheckpoint } from "../safetensors/checkpoint.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import type { JsonValue } from "../safetensors/json.ts";
import { parseJson } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { systemCode } from "../safetensors/system-error.ts";
import { refuseQuantised } from "./already-quantised.ts";
import type { SourceRoot } from "./source-root.ts";
import { chooseSourceRoot, listSourceRoot } from "./source-root.ts";

/** A shard as far as its header goes. */
export type ShardView = Pick<Shard, "name" | "size" | "header">;

/** A checkpoint as far as its headers go: its weights may be elsewhere. */
export type CheckpointView = {
  readonly root: string;
  readonly index: { readonly name: string } | undefined;
  readonly shards: readonly ShardView[];
};

/** The repository that a source came from. */
export type Origin = {
  readonly repo: string;
  /** A commit. */
  readonly revision: string;
  /** All its files, with the SHA-256 where it is known; undefined offline, where nobody can say. */
  readonly files:
    | readonly { readonly path: string; readonly size: number; readonly sha256: string | undefined }[]
    | undefined;
};

/** A checkpoint on disk: its path, and the repository if it came from one. */
export type SourceLocation = string | { readonly path: string; readonly origin: Origin };

export function pathAndOrigin(location: SourceLocation): {
  readonly path: string;
  readonly origin: Origin | undefined;
} {
  return typeof location === "string" ? { path: location, origin: undefined } : location;
}

/** A checkpoint that can be converted: validated headers, its config.json, and the files beside it. */
export type Source = SourceView & { readonly checkpoint: Checkpoint };

/** As {@link Source}, of which the weights may be elsewhere. */
export type SourceView = {
  readonly checkpoint: CheckpointView;
  readonly origin: Origin | undefined;
  readonly root: SourceRoot;
  /** The bytes of config.json. */
  readonly config: Uint8Array;
  readonly tensors: readonly TensorInfo[];
};

/** Reads a file beside the weights, of at most so many bytes; undefined when there is none. */
export type ReadBeside = (name: string, maxBytes: number) => Promise<Uint8Array | undefined>;

const largestConfig = 16 * 1024 * 1024;

// Names that the conversion itself writes into the root, beside shards and index.
const ownNames = new Set(["nestedfp", ".nestedfp"]);

/**
 * Opens what `convert` takes: everything that can be refused without reading tensor data is refused here.
 *
 * @throws FormatError
 */
export async function openSource(location: SourceLocation): Promise<Source> {
  const { path, origin } = pathAndOrigin(location);
  const checkpoint = await openCheckpoint(path);
  try {
    const label = origin === undefined ? path : `${origin.repo}@${origin.revision}`;
    return { ...(await viewSource(checkpoint, label, origin)), checkpoint };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** The files beside the shards. */
export async function rootOf(checkpoint: CheckpointView, origin: Origin | undefined): Promise<SourceRoot> {
  const paths = origin?.files?.map((file) => file.path);
  return paths === undefined ? listSourceRoot(checkpoint) : chooseSourceRoot(checkpoint, paths);
}

/**
 * Completes headers to a source; config.json must lie in the root of the checkpoint.
 *
 * @param label the source in errors
 * @param read by default from the root's directory
 * @throws FormatError
 */
export async function viewSource(
  checkpoint: CheckpointView,
  label: string,
  origin: Origin | undefined,
  read = besideOn(checkpoint.root),
): Promise<SourceView> {
  const root = await rootOf(checkpoint, origin);
  const tensors = checkpoint.shards.flatMap((shard) => shard.header.tensors);
  if (tensors.length === 0) {
    throw new FormatError(`${quote(label)} holds no tensors`, {
      hint: "name the file or directory that holds the weights",
    });
  }
  const config = await readConfig(read, label);
  const names = [...root.files, ...root.omitted.map((omitted) => omitted.path)];
  refuseQuantised(quote(label), config.members, names, tensors);
  const own = root.files.find((name) => ownNames.has(name));
  if (own !== undefined) {
    throw new FormatError(
      `${quote(label)} has a file ${quote(own)}, a name that the output needs for itself`,
      {
        hint: "move it out of the source directory",
      },
    );
  }
  return { checkpoint, origin, root, config: config.bytes, tensors };
}

function besideOn(root: string): ReadBeside {
  return (name, maxBytes) =>
    readWholeFile(join(root, name), maxBytes).catch((error) => {
      if (error instanceof FormatError && systemCode(error.cause) === "ENOENT") return undefined;
      throw error;
    });
}

async function readConfig(
  read: ReadBeside,
  label: string,
): Promise<{ readonly bytes: Uint8Array; readonly members: ReadonlyMap<string, JsonValue> }> {
  const bytes = await read("config.json", largestConfig);
  if (bytes === undefined) {
    throw new FormatError(`${quote(label)} has no config.json beside its weights`, {
      hint: "fetch the whole repository; `nestedfp inspect` works without it",
    });
  }
  const value = parseJson(bytes, "config.json", "python");
  if (!(value instanceof Map)) {
    throw new FormatError(`config.json of ${quote(label)} is not a JSON object`, {
      hint: "fetch the file again",
    });
  }
  return { bytes, members: value };
}

/** @throws UsageError when one of the two directories would lie in the other, or both are the same. */
export async function refuseOverlap(inputRoot: string, output: string): Promise<void> {
  const input = await realpath(inputRoot);
  const target = await realExistingPath(resolve(output));
  if (isWithin(target, input) || isWithin(input, target)) {
    throw new UsageError(`-o ${quote(output)} and the input ${quote(inputRoot)} overlap`, {
      hint: "write to a directory outside the input",
    });
  }
}

/** The real path of a file that may not exist yet: links in the part that exists are resolved. */
async function realExistingPath(path: string): Promise<string> {
  const real = await realpath(path).catch(() => undefined);
  if (real !== undefined || dirname(path) === path) return real ?? path;
  return join(await realExistingPath(dirname(path)), relative(dirname(path), path));
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep);
}
