import { UsageError } from "../errors.ts";
import { fileNameProblem } from "../safetensors/index-file.ts";
import { quote } from "../safetensors/quote.ts";

/** A repository of the Hub and the revision that was asked for. */
export type RepoReference = {
  readonly type: "model" | "dataset";
  /** `org/name`, or a name alone for the few that have no owner. */
  readonly id: string;
  /** A branch, a tag, `refs/pr/1` or a commit; `main` when nothing was said. */
  readonly revision: string;
};

const scheme = "hf://";
const namePart = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?$/;
const shorthand = /^([A-Za-z0-9][\w.-]*\/[\w.-]+)(?:@(.+))?$/;

/**
 * Reads `org/name[@rev]` or `hf://org/name[@rev]`.
 *
 * @param revision `--revision`, which must not contradict the text
 * @returns undefined for text that is neither, a path
 * @throws UsageError for `hf://` with what is no repository, and for two revisions
 */
export function parseRepoReference(text: string, revision?: string): RepoReference | undefined {
  const explicit = text.startsWith(scheme);
  const match = shorthand.exec(explicit ? text.slice(scheme.length) : text);
  const alone = explicit ? /^([\w.-]+)(?:@(.+))?$/.exec(text.slice(scheme.length)) : null;
  const [, id, stated] = match ?? alone ?? [];
  const problem = id === undefined ? "is no org/name" : repoIdProblem(id);
  if (id === undefined || problem !== undefined) {
    if (!explicit) return undefined;
    throw new UsageError(`${quote(text)} names no repository: it ${problem}`, {
      hint: "write hf://org/name or hf://org/name@revision",
    });
  }
  if (stated !== undefined && revision !== undefined && stated !== revision) {
    throw new UsageError(
      `${quote(text)} asks for revision ${quote(stated)}, and --revision for ${quote(revision)}`,
      {
        hint: "give one of them",
      },
    );
  }
  return { type: "model", id, revision: checkRevision(stated ?? revision ?? "main") };
}

/** Why a text is no repository id; undefined when it is one. The rules are the Hub's own. */
function repoIdProblem(id: string): string | undefined {
  const parts = id.split("/");
  if (parts.length > 2) return "has more than one slash";
  if (id.length > 96) return "is longer than 96 characters";
  if (id.includes("--") || id.includes("..")) return 'holds "--" or ".."';
  if (id.endsWith(".git")) return "ends with .git";
  return parts.every((part) => namePart.test(part)) ? undefined : "holds a character that no name has";
}

/** A revision becomes part of a path in the cache and of an address. @throws UsageError */
function checkRevision(revision: string): string {
  const parts = revision.split("/");
  if (revision.length <= 200 && parts.every((part) => fileNameProblem(part) === undefined)) return revision;
  throw new UsageError(`${quote(revision)} is no revision`, {
    hint: "give a branch, a tag or a commit, e.g. main",
  });
}

const commitPattern = /^[0-9a-f]{40}$/;

export function isCommit(revision: string): boolean {
  return commitPattern.test(revision);
}
