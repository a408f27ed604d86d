import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** What goes wrong with an answer. */
export type Fault =
  | { readonly kind: "status"; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** No answer at all, or none after `bytes` of the body. */
  | { readonly kind: "silence"; readonly bytes?: number }
  /** The connection breaks after `bytes` of the body. */
  | { readonly kind: "truncate"; readonly bytes: number }
  /** A body that is whole by its own Content-Length, and shorter or longer than the file. */
  | { readonly kind: "length"; readonly change: number }
  /** A body without a length that does not end. */
  | { readonly kind: "endless" }
  /** A byte of the body is another. */
  | { readonly kind: "corrupt" }
  /** The whole file, with 200, whatever range was asked for. */
  | { readonly kind: "ignore-range" }
  /** 206, but of another range. */
  | { readonly kind: "other-range" }
  | { readonly kind: "body"; readonly text: string; readonly headers?: Readonly<Record<string, string>> };

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

export type SeenRequest = {
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** Whether it came to the storage that the Hub redirects to. */
  readonly storage: boolean;
};

/** What a push left behind. */
export type Commit = {
  readonly repo: string;
  readonly branch: string;
  readonly pullRequest: boolean;
  readonly header: { readonly summary: string };
  readonly files: Readonly<Record<string, Uint8Array>>;
};

/** Files of at least these bytes are kept by LFS, and so redirected to the storage. */
const lfsBytes = 2048;

/**
 * A small Hugging Face Hub on loopback, with a storage of another origin that it redirects to, and a switch for
 * everything that can go wrong. Written from the documentation of the API, not from our client.
 */
export class TestHub {
  readonly requests: SeenRequest[] = [];
  readonly commits: Commit[] = [];
  readonly created: { readonly repo: string; readonly private: boolean }[] = [];
  /** Entries of a listing per page. */
  pageSize = 1000;
  /** Called with each piece of a body before it is sent. */
  onPiece: ((path: string) => void) | undefined;
  readonly #hub: Server;
  readonly #storage: Server;
  readonly #repos = new Map<string, TestRepo>();
  readonly #stored = new Map<string, Uint8Array>();
  readonly #allowed: { readonly match: RegExp; left: number }[] = [];
  readonly #faults: { readonly match: RegExp; readonly fault: Fault; left: number }[] = [];

  private constructor() {
    this.#hub = createServer((request, response) => void this.#answer(request, response, false));
    this.#storage = createServer((request, response) => void this.#answer(request, response, true));
  }

  static async start(): Promise<TestHub> {
    const hub = new TestHub();
    for (const server of [hub.#hub, hub.#storage]) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    }
    return hub;
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get storageUrl(): string {
    return `http://127.0.0.1:${(this.#storage.address() as AddressInfo).port}`;
  }

  add(id: string, repo: TestRepo): void {
    this.#repos.set(`${repo.type ?? "model"}s/${id}`, repo);
    for (const bytes of Object.values(repo.files)) this.#stored.set(sha256(bytes), bytes);
  }

  /** The next `times` requests whose `METHOD url` matches fail like this. */
  fail(match: RegExp, fault: Fault, times = Number.POSITIVE_INFINITY): void {
    this.#faults.push({ match, fault, left: times });
  }

  /** The next `times` requests that match are answered as they should, before any fault. */
  allow(match: RegExp, times: number): void {
    this.#allowed.push({ match, left: times });
  }

  /** What a content is called in the storage. */
  storedName(bytes: Uint8Array): string {
    return sha256(bytes);
  }

  /** Forgets faults and requests. */
  reset(): void {
    this.#faults.length = 0;
    this.#allowed.length = 0;
    this.requests.length = 0;
    this.pageSize = 1000;
    this.onPiece = undefined;
  }

  async #answer(request: IncomingMessage, response: ServerResponse, storage: boolean): Promise<void> {
    const { method = "GET", url = "/", headers } = request;
    const { range, authorization } = headers;
    this.requests.push({ method, url, range, authorization, storage });
    const fault = this.#faultFor(`${method} ${url}`);
    if (fault?.kind === "silence" && fault.bytes === undefined) return;
    if (fault?.kind === "status") {
      response.writeHead(fault.status, fault.headers).end('{"error":"as the test asked"}');
      return;
    }
    if (fault?.kind === "endless" && url.startsWith("/api/")) {
      response.writeHead(200, { "content-type": "application/json" });
      this.#sendEndlessly(response);
      return;
    }
    if (fault?.kind === "body") {
      response.writeHead(200, { "content-type": "application/json", ...fault.headers }).end(fault.text);
      return;
    }
    const body = await bodyOf(request);
    const path = decodeURIComponent(new URL(url, this.url).pathname);
    if (storage && method === "PUT") {
      this.#stored.set(path.slice(1), body);
      response.writeHead(sha256(body) === path.slice(1) ? 200 : 400).end();
    } else if (storage) {
      this.#sendFile(request, response, this.#stored.get(path.slice(1)) ?? new Uint8Array(0), fault);
    } else if (method === "POST") {
      this.#takePost(path, url, body, response);
    } else {
      this.#sendFromRepo(path, url, request, response, fault);
    }
  }

  #faultFor(line: string): Fault | undefined {
    const allowed = this.#allowed.find(({ match, left }) => left > 0 && match.test(line));
    if (allowed) allowed.left--;
    if (allowed) return undefined;
    const found = this.#faults.find(({ match, left }) => left > 0 && match.test(line));
    if (found) found.left--;
    return found?.fault;
  }

  #sendFromRepo(
    path: string,
    url: string,
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault | undefined,
  ): void {
    const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/.exec(path);
    const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const [kind, id, rest] = api
      ? [api[1], api[2], api[4]]
      : [file?.[1] ? "datasets" : "models", file?.[2], file?.[3]];
    const repo = this.#repos.get(`${kind}/${id}`);
    const refusal = repo ? this.#refusal(repo, request) : ([401, "RepoNotFound"] as const);
    if (refusal) {
      // As the Hub does: who gives no token is not told whether there is such a repository.
      const status = repo === undefined && request.headers.authorization ? 404 : refusal[0];
      response.writeHead(status, { "x-error-code": refusal[1], "x-error-message": "Not for you" }).end();
      return;
    }
    if (!repo || id === undefined || rest === undefined) {
      response.writeHead(404).end();
      return;
    }
    const revisions = repo.revisions ?? ["main"];
    if (!revisions.includes(rest) && rest !== (repo.commit ?? commitOf(id))) {
      response.writeHead(404, { "x-error-code": "RevisionNotFound" }).end();
      return;
    }
    if (api?.[3] === "revision") {
      sendJson(response, infoOf(id, repo));
      return;
    }
    if (api) {
      this.#sendListing(url, repo, response);
      return;
    }
    const name = file?.[4] ?? "";
    const other = request.headers.range?.startsWith("bytes=0-") ? repo.rangeFiles?.[name] : undefined;
    const bytes = other ?? repo.files[name];
    if (bytes === undefined) {
      response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
      return;
    }
    response.setHeader("x-repo-commit", repo.commit ?? commitOf(id));
    if (bytes.length < lfsBytes || other || fault || repo.sizes?.[name]) {
      response.setHeader("etag", `"${gitBlobId(bytes)}"`);
      this.#sendFile(request, response, bytes, fault, repo.sizes?.[name]);
      return;
    }
    const headers = {
      location: `${this.storageUrl}/${sha256(bytes)}?signature=secret`,
      "x-linked-etag": `"${sha256(bytes)}"`,
      "x-linked-size": String(bytes.length),
    };
    response.writeHead(302, headers).end();
  }

  #refusal({ tokens, gated }: TestRepo, { headers }: IncomingMessage): readonly [number, string] | undefined {
    if (tokens === undefined) return undefined;
    const token = headers.authorization?.replace(/^Bearer /, "");
    if (token !== undefined && tokens.includes(token)) return undefined;
    if (gated) return [token === undefined ? 401 : 403, "GatedRepo"];
    return token === undefined ? [401, "RepoNotFound"] : [404, "RepoNotFound"];
  }

  #sendListing(url: string, repo: TestRepo, response: ServerResponse): void {
    const { searchParams } = new URL(url, this.url);
    const entries = repo.listing ?? listingOf(repo.files);
    const from = Number(searchParams.get("cursor") ?? 0);
    const next = from + this.pageSize;
    const link = `<${this.url}${url.split("?")[0]}?recursive=true&cursor=${next}>; rel="next"`;
    if (next < entries.length) response.setHeader("link", link);
    sendJson(response, entries.slice(from, next));
  }

  #sendFile(
    request: IncomingMessage,
    response: ServerResponse,
    whole: Uint8Array,
    fault: Fault | undefined,
    size = whole.length,
  ): void {
    const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const isRange = match !== null && fault?.kind !== "ignore-range";
    const start = isRange ? Number(match[1]) : 0;
    const end = isRange && match[2] ? Number(match[2]) + 1 : whole.length;
    if (isRange && start >= whole.length) {
      response.writeHead(416, { "content-range": `bytes */${whole.length}` }).end();
      return;
    }
    const shift = fault?.kind === "other-range" ? 1 : 0;
    let body: Uint8Array = new Uint8Array(whole.subarray(start + shift, end));
    if (fault?.kind === "corrupt" && body.length > 0)
      body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 1;
    if (fault?.kind === "length") {
      body =
        fault.change < 0 ? body.slice(0, fault.change) : Buffer.concat([body, new Uint8Array(fault.change)]);
    }
    response.writeHead(isRange ? 206 : 200, {
      ...(fault?.kind !== "endless" && { "content-length": body.length }),
      ...(isRange && { "content-range": `bytes ${start + shift}-${Math.min(end, size) - 1}/${size}` }),
    });
    response.flushHeaders();
    const cut = fault?.kind === "truncate" || fault?.kind === "silence" ? (fault.bytes ?? 0) : body.length;
    this.#sendPieces(response, request.url ?? "", body.subarray(0, cut), () => {
      if (fault?.kind === "truncate") response.destroy();
      else if (fault?.kind === "endless") this.#sendEndlessly(response);
      else if (fault?.kind !== "silence") response.end();
    });
  }

  #sendPieces(response: ServerResponse, path: string, body: Uint8Array, done: () => void): void {
    if (body.length === 0) {
      done();
      return;
    }
    const piece = body.subarray(0, 1 << 16);
    this.onPiece?.(path);
    response.write(
      piece,
      (error) => error || this.#sendPieces(response, path, body.subarray(piece.length), done),
    );
  }

  #sendEndlessly(response: ServerResponse): void {
    response.write(Buffer.alloc(1 << 16), (error) => error || this.#sendEndlessly(response));
  }

  /** Creation, pre-upload, LFS batch and commit of a push. */
  #takePost(path: string, url: string, body: Uint8Array, response: ServerResponse): void {
    const text = Buffer.from(body).toString();
    if (path === "/api/repos/create") {
      const { name, organization, visibility } = JSON.parse(text);
      const repo = `${organization}/${name}`;
      if (this.#repos.has(`models/${repo}`)) {
        response.writeHead(409).end('{"error":"exists"}');
        return;
      }
      this.created.push({ repo, private: visibility === "private" });
      this.add(repo, { files: {} });
      sendJson(response, { url: `${this.url}/${repo}`, id: repo });
      return;
    }
    const batch = /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(path);
    if (batch) {
      const objects = (JSON.parse(text).objects as { oid: string; size: number }[]).map((object) => ({
        ...object,
        ...(!this.#stored.has(object.oid) && {
          actions: { upload: { href: `${this.storageUrl}/${object.oid}`, header: {} } },
        }),
      }));
      sendJson(response, { transfer: "basic", objects });
      return;
    }
    const [, id = "", step, branch = ""] =
      /^\/api\/models\/([^/]+\/[^/]+)\/(preupload|commit)\/(.+)$/.exec(path) ?? [];
    if (!this.#repos.has(`models/${id}`)) {
      response.writeHead(404, { "x-error-code": "RepoNotFound" }).end();
      return;
    }
    if (step === "preupload") {
      const files = (JSON.parse(text).files as { path: string; size: number }[]).map((file) => ({
        path: file.path,
        uploadMode: file.size >= lfsBytes ? "lfs" : "regular",
      }));
      sendJson(response, { files });
      return;
    }
    const lines = text.split("\n").map((line) => JSON.parse(line));
    const files: [string, Uint8Array][] = [];
    for (const { key, value } of lines) {
      if (key === "file") files.push([value.path, Buffer.from(value.content, "base64")]);
      if (key === "lfsFile") files.push([value.path, this.#stored.get(value.oid) ?? new Uint8Array(0)]);
    }
    const pullRequest = url.includes("create_pr=1");
    const header = lines.find(({ key }) => key === "header")?.value;
    this.commits.push({ repo: id, branch, pullRequest, header, files: Object.fromEntries(files) });
    sendJson(response, {
      commitOid: "c".repeat(40),
      commitUrl: `${this.url}/${id}/commit/${"c".repeat(40)}`,
      ...(pullRequest && { pullRequestUrl: `${this.url}/${id}/discussions/1` }),
    });
  }
}

/** The commit of `main` of a repository. */
export function commitOf(id: string): string {
  return createHash("sha1").update(id).digest("hex");
}

export function gitBlobId(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** Every file of a folder, sub-folders included. */
export function filesOf(folder: string, prefix = ""): Record<string, Uint8Array> {
  const files: Record<string, Uint8Array> = {};
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) Object.assign(files, filesOf(path, `${prefix}${entry.name}/`));
    else files[`${prefix}${entry.name}`] = readFileSync(path);
  }
  return files;
}

function listingOf(files: TestRepo["files"]): object[] {
  const folders = new Set(Object.keys(files).flatMap((path) => path.split("/").slice(0, -1)));
  return [
    ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
    ...Object.entries(files).map(([path, bytes]) => ({
      type: "file",
      path,
      size: bytes.length,
      oid: gitBlobId(bytes),
      ...(bytes.length >= lfsBytes && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }),
    })),
  ];
}

function infoOf(id: string, { files, commit }: TestRepo): object {
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

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
