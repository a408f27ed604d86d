import { createHash } from "node:crypto";
import { gitBlobId, sha256 } from "./contents.ts";

/** A repository of the test Hub. */
export type TestRepo = {
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** Needs a token, one of these. */
  readonly tokens?: readonly string[];
  /** Answers 401 and 403 as a gated repository. */
  readonly gated?: boolean;
  /** By default `main` alone. */
  readonly revisions?: readonly string[];
  /** Listed as they are, whatever the files are. */
  readonly listing?: readonly object[];
  readonly type?: "model" | "dataset";
  /** Sizes that a file claims in Content-Range, whatever it has. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Other contents for requests with a range that begins at 0. */
  readonly rangeFiles?: Readonly<Record<string, Uint8Array>>;
  /** Of `main`; by default made from the name. */
  readonly commit?: string;
};

/** Files of at least these bytes are kept by LFS, and so redirected to the storage. */
export const lfsBytes = 2048;

/** The commit of `main` of a repository. */
export function commitOf(id: string): string {
  return createHash("sha1").update(id).digest("hex");
}

/** What the Hub says of a file in a listing. */
export function listingEntry(path: string, bytes: Uint8Array): object {
  const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
  const isLfs = bytes.length >= lfsBytes;
  return { type: "file", path, size: bytes.length, oid: gitBlobId(bytes), ...(isLfs && { lfs }) };
}

/** What the Hub lists of a repository, folders included. */
export function listingOf(files: TestRepo["files"]): object[] {
  const folders = new Set(Object.keys(files).flatMap((path) => path.split("/").slice(0, -1)));
  return [
    ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
    ...Object.entries(files).map(([path, bytes]) => listingEntry(path, bytes)),
  ];
}

/** The answer about a model or a dataset at a revision. */
export function infoOf(id: string, { files, commit }: TestRepo): object {
  const rest = {
    private: false,
    downloads: 0,
    likes: 0,
    gated: false,
    lastModified: "2026-01-01T00:00:00.000Z",
  };
  const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
  return { _id: "0".repeat(24), id, sha: commit ?? commitOf(id), siblings, ...rest };
}
