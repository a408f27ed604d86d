import type { ServerResponse } from "node:http";
import { sendJson } from "./send-file.ts";
import { lfsBytes, type TestRepo } from "./test-repo.ts";

/** What a push left behind. */
export type Commit = {
  readonly repo: string;
  readonly branch: string;
  readonly pullRequest: boolean;
  readonly header: { readonly summary: string };
  readonly files: Readonly<Record<string, Uint8Array>>;
};

/** What the endpoints that write know of the Hub. */
export type Writing = {
  /** By `models/org/name`. */
  readonly repos: ReadonlyMap<string, TestRepo>;
  /** Contents by SHA-256. */
  readonly stored: ReadonlyMap<string, Uint8Array>;
  readonly url: string;
  readonly storageUrl: string;
  create(repo: string, isPrivate: boolean): void;
  keep(commit: Commit): void;
};

/** Answers a POST: creation of a repository, LFS batch, pre-upload and commit of a push. */
export function answerPost(
  pathname: string,
  search: string,
  text: string,
  response: ServerResponse,
  hub: Writing,
): void {
  const batch = /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(pathname);
  if (pathname === "/api/repos/create") createRepo(text, response, hub);
  else if (batch) sendBatch(text, response, hub);
  else takeStep(pathname, search, text, response, hub);
}

function createRepo(text: string, response: ServerResponse, hub: Writing): void {
  const { name, organization, visibility } = JSON.parse(text);
  const repo = `${organization}/${name}`;
  if (hub.repos.has(`models/${repo}`)) {
    response.writeHead(409).end('{"error":"exists"}');
    return;
  }
  hub.create(repo, visibility === "private");
  sendJson(response, { url: `${hub.url}/${repo}`, id: repo });
}

function sendBatch(text: string, response: ServerResponse, { stored, storageUrl }: Writing): void {
  const objects = (JSON.parse(text).objects as { oid: string; size: number }[]).map((object) => ({
    ...object,
    ...(!stored.has(object.oid) && {
      actions: { upload: { href: `${storageUrl}/${object.oid}`, header: {} } },
    }),
  }));
  sendJson(response, { transfer: "basic", objects });
}

/** Pre-upload or commit; a branch is one part of an address, as a revision. */
function takeStep(
  pathname: string,
  search: string,
  text: string,
  response: ServerResponse,
  hub: Writing,
): void {
  const match = /^\/api\/models\/([^/]+\/[^/]+)\/(preupload|commit)\/([^/]+)$/.exec(pathname);
  const [, id = "", step, branch = ""] = match ?? [];
  if (!hub.repos.has(`models/${id}`)) {
    response.writeHead(404, { "x-error-code": "RepoNotFound" }).end();
    return;
  }
  if (step === "preupload") {
    const files = (JSON.parse(text).files as { path: string; size: number }[]).map(({ path, size }) => ({
      path,
      uploadMode: size >= lfsBytes ? "lfs" : "regular",
    }));
    sendJson(response, { files });
    return;
  }
  const lines = text.split("\n").map((line) => JSON.parse(line));
  const files: [string, Uint8Array][] = [];
  for (const { key, value } of lines) {
    if (key === "file") files.push([value.path, Buffer.from(value.content, "base64")]);
    if (key === "lfsFile") files.push([value.path, hub.stored.get(value.oid) ?? new Uint8Array(0)]);
  }
  const pullRequest = search.includes("create_pr=1");
  const header = lines.find(({ key }) => key === "header")?.value;
  hub.keep({
    repo: id,
    branch: decodeURIComponent(branch),
    pullRequest,
    header,
    files: Object.fromEntries(files),
  });
  sendJson(response, {
    commitOid: "c".repeat(40),
    commitUrl: `${hub.url}/${id}/commit/${"c".repeat(40)}`,
    ...(pullRequest && { pullRequestUrl: `${hub.url}/${id}/discussions/1` }),
  });
}
