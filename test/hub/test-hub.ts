import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { sha256 } from "./contents.ts";
import type { Fault } from "./fault-schedule.ts";
import { FaultSchedule } from "./fault-schedule.ts";
import { answerPost, type Commit } from "./push-endpoints.ts";
import { answerRead } from "./read-endpoints.ts";
import { sendEndlessly, sendFile } from "./send-file.ts";
import type { TestRepo } from "./test-repo.ts";

export type SeenRequest = {
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** Whether it came to the storage that the Hub redirects to. */
  readonly storage: boolean;
};

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
  readonly #faults = new FaultSchedule();

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
  fail(match: RegExp, fault: Fault, times?: number): void {
    this.#faults.fail(match, fault, times);
  }

  /** The next `times` requests that match are answered as they should, before any fault. */
  allow(match: RegExp, times: number): void {
    this.#faults.allow(match, times);
  }

  /** What a content is called in the storage. */
  storedName(bytes: Uint8Array): string {
    return sha256(bytes);
  }

  /** Forgets faults and requests. */
  reset(): void {
    this.#faults.clear();
    this.requests.length = 0;
    this.pageSize = 1000;
    this.onPiece = undefined;
  }

  async #answer(request: IncomingMessage, response: ServerResponse, storage: boolean): Promise<void> {
    const { method = "GET", url = "/", headers } = request;
    const { range, authorization } = headers;
    this.requests.push({ method, url, range, authorization, storage });
    const fault = this.#faults.next(`${method} ${url}`);
    if (fault && answerFault(url, response, fault)) return;
    const body = await bodyOf(request);
    const { pathname, search } = new URL(url, this.url);
    const state = {
      repos: this.#repos,
      stored: this.#stored,
      url: this.url,
      storageUrl: this.storageUrl,
      pageSize: this.pageSize,
      fault,
      onPiece: this.onPiece,
    };
    if (storage) this.#answerStorage(pathname.slice(1), request, response, body, fault);
    else if (method === "POST") {
      const writing = {
        ...state,
        create: (repo: string, isPrivate: boolean) => {
          this.created.push({ repo, private: isPrivate });
          this.add(repo, { files: {} });
        },
        keep: (commit: Commit) => void this.commits.push(commit),
      };
      answerPost(pathname, search, Buffer.from(body).toString(), response, writing);
    } else answerRead(request, response, state);
  }

  #answerStorage(
    name: string,
    request: IncomingMessage,
    response: ServerResponse,
    body: Uint8Array,
    fault: Fault | undefined,
  ): void {
    if (request.method !== "PUT") {
      const { onPiece } = this;
      sendFile(request, response, this.#stored.get(name) ?? new Uint8Array(0), { fault, onPiece });
      return;
    }
    this.#stored.set(name, body);
    response.writeHead(sha256(body) === name ? 200 : 400).end();
  }
}

/** Answers with what has nothing to do with any file. @returns whether the fault is of that kind */
function answerFault(url: string, response: ServerResponse, fault: Fault): boolean {
  if (fault.kind === "silence" && fault.bytes === undefined) return true;
  if (fault.kind === "status") {
    response.writeHead(fault.status, fault.headers).write(fault.text ?? '{"error":"as the test asked"}');
    if (!fault.unfinished) response.end();
    if (fault.unfinished === "drips") {
      const drip = setInterval(() => response.write(" "), 20);
      response.on("close", () => clearInterval(drip));
    }
    return true;
  }
  if (fault.kind === "endless" && url.startsWith("/api/")) {
    response.writeHead(200, { "content-type": "application/json" });
    sendEndlessly(response);
    return true;
  }
  if (fault.kind === "truncate" && url.startsWith("/api/")) {
    response.destroy();
    return true;
  }
  if (fault.kind !== "body") return false;
  response.writeHead(200, { "content-type": "application/json", ...fault.headers }).end(fault.text);
  return true;
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}
