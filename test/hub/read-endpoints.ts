import type { IncomingMessage, ServerResponse } from "node:http";
import { gitBlobId, sha256 } from "./contents.ts";
import type { Sending } from "./send-file.ts";
import { sendFile, sendJson } from "./send-file.ts";
import { commitOf, infoOf, lfsBytes, listingOf, type TestRepo } from "./test-repo.ts";

/** What the endpoints that read know of the Hub. */
export type Reading = Sending & {
  /** By `models/org/name`. */
  readonly repos: ReadonlyMap<string, TestRepo>;
  readonly url: string;
  readonly storageUrl: string;
  /** Entries of a listing per page. */
  readonly pageSize: number;
};

type Asked = {
  readonly kind: string;
  readonly id: string;
  readonly what: "revision" | "tree" | "resolve";
  readonly revision: string;
  readonly path: string;
};

/** Answers for a model or dataset at a revision, its listing, or one of its files. */
export function answerRead(request: IncomingMessage, response: ServerResponse, reading: Reading): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", reading.url);
  const asked = parseRead(pathname);
  const repo = asked && reading.repos.get(`${asked.kind}/${asked.id}`);
  const refusal = repo ? refusalOf(repo, request) : ([401, "RepoNotFound"] as const);
  if (refusal) {
    // As the Hub does: who gives no token is not told whether there is such a repository.
    const status = repo === undefined && request.headers.authorization ? 404 : refusal[0];
    response.writeHead(status, { "x-error-code": refusal[1], "x-error-message": "Not for you" }).end();
    return;
  }
  if (!repo || !asked) {
    response.writeHead(404).end();
    return;
  }
  const { id, what, revision } = asked;
  if (!(repo.revisions ?? ["main"]).includes(revision) && revision !== (repo.commit ?? commitOf(id))) {
    response.writeHead(404, { "x-error-code": "RevisionNotFound" }).end();
    return;
  }
  if (what === "revision") sendJson(response, infoOf(id, repo));
  else if (what === "tree")
    sendListing(pathname, Number(searchParams.get("cursor") ?? 0), repo, response, reading);
  else sendFromRepo(asked, repo, request, response, reading);
}

/** A revision is one part of an address: a slash in it is there as %2F. */
function parseRead(pathname: string): Asked | undefined {
  const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(pathname);
  const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
  const decoded = (text: string | undefined): string => decodeURIComponent(text ?? "");
  if (api) {
    const what = api[3] === "tree" ? "tree" : "revision";
    return { kind: decoded(api[1]), id: decoded(api[2]), what, revision: decoded(api[4]), path: "" };
  }
  if (!file) return undefined;
  const kind = file[1] ? "datasets" : "models";
  return { kind, id: decoded(file[2]), what: "resolve", revision: decoded(file[3]), path: decoded(file[4]) };
}

function refusalOf(
  { tokens, gated }: TestRepo,
  { headers }: IncomingMessage,
): readonly [status: number, code: string] | undefined {
  if (tokens === undefined) return undefined;
  const token = headers.authorization?.replace(/^Bearer /, "");
  if (token !== undefined && tokens.includes(token)) return undefined;
  if (gated) return [token === undefined ? 401 : 403, "GatedRepo"];
  return token === undefined ? [401, "RepoNotFound"] : [404, "RepoNotFound"];
}

function sendListing(
  pathname: string,
  from: number,
  repo: TestRepo,
  response: ServerResponse,
  { url, pageSize }: Reading,
): void {
  const entries = repo.listing ?? listingOf(repo.files);
  const next = from + pageSize;
  const link = `<${url}${pathname}?recursive=true&cursor=${next}>; rel="next"`;
  if (next < entries.length) response.setHeader("link", link);
  sendJson(response, entries.slice(from, next));
}

function sendFromRepo(
  { id, path }: Asked,
  repo: TestRepo,
  request: IncomingMessage,
  response: ServerResponse,
  reading: Reading,
): void {
  const other = request.headers.range?.startsWith("bytes=0-") ? repo.rangeFiles?.[path] : undefined;
  const bytes = other ?? repo.files[path];
  if (bytes === undefined) {
    response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
    return;
  }
  response.setHeader("x-repo-commit", repo.commit ?? commitOf(id));
  const size = repo.sizes?.[path];
  if (bytes.length < lfsBytes || other || reading.fault || size) {
    response.setHeader("etag", `"${gitBlobId(bytes)}"`);
    sendFile(request, response, bytes, { ...reading, size });
    return;
  }
  const headers = {
    location: `${reading.storageUrl}/${sha256(bytes)}?signature=secret`,
    "x-linked-etag": `"${sha256(bytes)}"`,
    "x-linked-size": String(bytes.length),
  };
  response.writeHead(302, headers).end();
}
