import { datasetInfo, listFiles, modelInfo } from "@huggingface/hub";
import { FormatError, NestedFpError, NetworkError } from "../errors.ts";
import { fileNameProblem } from "../safetensors/index-file.ts";
import { quote } from "../safetensors/quote.ts";
import type { HubClient } from "./client.ts";
import type { RepoReference } from "./repo-id.ts";
import { isCommit } from "./repo-id.ts";

/** A file of a repository, as the Hub lists it. */
export type RepoFile = {
  readonly path: string;
  readonly size: number;
  /** What the content must hash to: SHA-256 for a file kept by Git LFS, else the id of the Git blob. */
  readonly oid: string;
  readonly kind: "sha256" | "git-blob";
};

/** A repository at one commit. */
export type Repository = {
  readonly reference: RepoReference;
  readonly commit: string;
  /** Every file, sub-folders included, in the order of the listing. */
  readonly files: readonly RepoFile[];
};

/** Paths that no Git tree holds: a part is empty, `.` or `..`, or there is a NUL. Only who wants to harm lists them. */
const inNoTree = /(?:^|\/)\.{0,2}(?:\/|$)|\0/;

/** No model has as many; a listing is kept in memory. */
const mostFiles = 100_000;

/**
 * Asks the Hub which commit a revision is, and what it holds.
 *
 * @throws NetworkError; FormatError for a listing that is not to be trusted
 */
export async function openRepository(
  client: HubClient,
  reference: RepoReference,
  signal: AbortSignal,
): Promise<Repository> {
  const { id, type, revision } = reference;
  const fetch = client.fetchFor({ id, revision }, signal);
  const shared = { hubUrl: client.options.endpoint, fetch };
  return understood(id, async () => {
    const fields = { name: id, revision, additionalFields: ["sha" as const] };
    const info =
      type === "model"
        ? await modelInfo({ ...shared, ...fields })
        : await datasetInfo({ ...shared, ...fields });
    const commit: unknown = info.sha;
    if (typeof commit !== "string" || !isCommit(commit))
      throw new TypeError(`commit ${quote(String(commit))}`);
    if (isCommit(revision) && commit !== revision) throw new TypeError(`commit ${commit} for ${revision}`);
    const files: RepoFile[] = [];
    const seen = new Set<string>();
    for await (const entry of listFiles({
      ...shared,
      repo: { type, name: id },
      revision: commit,
      recursive: true,
    })) {
      if (entry.type !== "file") continue;
      const file = fileOf(entry);
      if (inNoTree.test(file.path)) throw outside(id, file.path, "leads out of where it lies");
      if (seen.has(file.path)) throw new TypeError(`${quote(file.path)} twice`);
      seen.add(file.path);
      files.push(file);
      if (files.length > mostFiles) throw new TypeError(`more than ${mostFiles} files`);
    }
    return { reference, commit, files };
  });
}

/** @throws TypeError for an entry that lacks what every file has */
function fileOf(entry: {
  path?: unknown;
  size?: unknown;
  oid?: unknown;
  lfs?: { oid?: unknown; size?: unknown };
}): RepoFile {
  const oid = entry.lfs?.oid ?? entry.oid;
  const size = entry.lfs?.size ?? entry.size;
  const kind = entry.lfs === undefined ? "git-blob" : "sha256";
  const pattern = kind === "sha256" ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/;
  const { path } = entry;
  if (typeof path !== "string" || !Number.isSafeInteger(size) || (size as number) < 0) {
    throw new TypeError(`file ${quote(String(path))} of size ${quote(String(size))}`);
  }
  if (typeof oid !== "string" || !pattern.test(oid))
    throw new TypeError(`${quote(path)} with id ${quote(String(oid))}`);
  return { path, size: size as number, oid, kind };
}

/** A file by its path. @throws NetworkError when the repository has none */
export function fileNamed({ reference, files }: Repository, path: string): RepoFile {
  const file = files.find((entry) => entry.path === path);
  if (file !== undefined) return refuseOutside(reference.id, file);
  const { id, revision } = reference;
  throw new NetworkError(`${quote(id)} has no file ${quote(path)} at ${quote(revision)}`, {
    hint: "the repository is incomplete, or another revision has it",
  });
}

/** @throws FormatError for a path that could lead out of a directory, or means another file on another system */
function refuseOutside(id: string, file: RepoFile): RepoFile {
  const problem = file.path
    .split("/")
    .map(fileNameProblem)
    .find((found) => found !== undefined);
  if (problem === undefined) return file;
  throw outside(id, file.path, problem);
}

function outside(id: string, path: string, problem: string): FormatError {
  return new FormatError(`${quote(id)} lists a file ${quote(path)}: a part of its path ${problem}`, {
    hint: "do not trust this repository",
  });
}

/** The address of a file's content at a commit. */
export function resolveUrl(client: HubClient, { reference, commit }: Repository, path: string): string {
  const prefix = reference.type === "dataset" ? "datasets/" : "";
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${client.options.endpoint}/${prefix}${reference.id}/resolve/${commit}/${encoded}`;
}

/** An answer of the Hub that the library or we cannot make sense of is the network's fault, not a bug of ours. */
export async function understood<T>(id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NestedFpError) throw error;
    if (!(error instanceof Error) || error.name === "AbortError") throw error;
    throw new NetworkError(`${quote(id)}: the Hub's answer cannot be used: ${quote(error.message)}`, {
      hint: "check HF_ENDPOINT; something between here and the Hub may answer in its place",
      cause: error,
    });
  }
}
