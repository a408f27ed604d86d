import { createHash, type Hash } from "node:crypto";
import type { RepoFile } from "./repository.ts";

/** A running hash that comes to a file's `oid`: Git puts `blob SIZE\0` before the content. */
export function contentHash({ kind, size }: Pick<RepoFile, "kind" | "size">): Hash {
  return kind === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}
