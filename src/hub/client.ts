import { setTimeout as wait } from "node:timers/promises";
import { fetch as fetchWith } from "undici";
import { NetworkError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { HubOptions } from "./hub-options.ts";
import { ProxyDispatcher } from "./proxy.ts";
import type { Refusal, Subject } from "./status-error.ts";
import { statusError } from "./status-error.ts";

/** What may be asked again without doing it twice. */
const repeatable = new Set(["GET", "HEAD", "PUT"]);
/** Answers after which the same request may succeed; of these the first two mean that nothing was done. */
const refused = new Set([429, 503]);
const passing = new Set([...refused, 408, 500, 502, 504]);
/** A server that asks for a longer pause gets none: the error says so instead. */
const longestPauseMs = 60_000;

/** A page of a listing has a thousand files, of some hundred bytes each. */
const largestAnswer = 64 * 1024 * 1024;
const mostRequests = 2000;
/** Of the headers and of the whole of an answer, in time-outs: what comes byte by byte renews a time-out with each. */
const slowestHeaders = 6;
export const slowestAnswer = 30;
const largestRefusal = 64 * 1024;

export type HubRequest = {
  readonly subject: Subject;
  readonly signal: AbortSignal;
  readonly init?: RequestInit;
};

/**
 * HTTP to the Hub: proxies, time-outs, retries with back-off, and every answer that is no success as a
 * NetworkError. The token goes to the origin of the endpoint only, whatever addresses an answer names.
 */
export class HubClient {
  readonly options: HubOptions;
  readonly #dispatcher: ProxyDispatcher;
  readonly #origin: string;

  constructor(options: HubOptions) {
    this.options = options;
    this.#origin = originOf(options.endpoint);
    const timeouts = {
      headersTimeout: options.timeoutMs,
      bodyTimeout: options.timeoutMs,
      connect: { timeout: options.timeoutMs },
    };
    this.#dispatcher = new ProxyDispatcher(options.proxy, timeouts);
  }

  /**
   * Sends a request, again when that may help.
   *
   * @returns a successful answer; its body may still fail while it is read
   * @throws NetworkError
   */
  async request(url: string, { subject, signal, init = {} }: HubRequest): Promise<Response> {
    const { tries, delayMs } = this.options.retry;
    if (!canBeAsked(url))
      throw misled("answers with what is no address to ask", undefined, subject, this.options);
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const again = attempt < tries && repeatable.has(init.method ?? "GET");
      const pause = delayMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
      let response: Response;
      try {
        response = await this.#send(url, init, signal);
      } catch (cause) {
        signal.throwIfAborted();
        const problem = redirectProblem(cause);
        if (problem !== undefined) throw misled(problem, cause, subject, this.options);
        if (!again) throw unreachable(originOf(url), cause, this.options, attempt);
        await wait(pause, undefined, { signal }).catch(() => undefined);
        continue;
      }
      if (response.ok) return response;
      const refusal = await readRefusal(response, this.options.timeoutMs);
      signal.throwIfAborted();
      const asked = retryAfter(response);
      const mayPass = attempt < tries && (again ? passing : refused).has(refusal.status);
      if (!mayPass || (asked ?? 0) > longestPauseMs) throw statusError(refusal, subject, this.options);
      await wait(asked ?? pause, undefined, { signal }).catch(() => undefined);
    }
  }

  /** As the `fetch` that @huggingface/hub takes, for answers of the API: more than any should need is an error. */
  fetchFor(subject: Subject, signal: AbortSignal): typeof fetch {
    let requests = 0;
    return async (url, init = {}) => {
      if (++requests > mostRequests) throw new TypeError(`an answer in more than ${mostRequests} pages`);
      const response = await this.request(String(url), { subject, signal, init });
      return limited(response, slowestAnswer * this.options.timeoutMs);
    };
  }

  /** Ends idle connections, which would keep the process alive. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #send(url: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("user-agent", this.options.userAgent);
    const { token } = this.options;
    if (token !== undefined && originOf(url) === this.#origin)
      headers.set("authorization", `Bearer ${token}`);
    const late = new AbortController();
    const mostMs = slowestHeaders * this.options.timeoutMs;
    const giveUp = (): void => late.abort(new TypeError(`no whole answer within ${mostMs / 1000} s`));
    // The time of a body that is sent is nobody's fault.
    const timer = init.body ? undefined : setTimeout(giveUp, mostMs);
    // One of its own: undici leaves its listener on a signal until that is collected, and warns at 1500 of them.
    const any = AbortSignal.any([...(init.signal ? [init.signal] : []), signal, late.signal]);
    // undici's own fetch takes a dispatcher; its types and Node's are of the same classes under two names.
    const request = { ...init, headers, signal: any, dispatcher: this.#dispatcher } as unknown;
    try {
      return (await fetchWith(url, request as Parameters<typeof fetchWith>[1])) as unknown as Response;
    } finally {
      clearTimeout(timer);
    }
  }
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : "";
}

/** Whether an address, which may come from an answer, is one of HTTP and names no user. */
function canBeAsked(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, username, password } = new URL(url);
  return /^https?:$/.test(protocol) && username + password === "";
}

/** The answer, whose body fails once it is larger than {@link largestAnswer}, or still comes after `mostMs`. */
function limited(response: Response, mostMs: number): Response {
  if (response.body === null) return response;
  const started = performance.now();
  let bytes = 0;
  const counted = new TransformStream<Uint8Array, Uint8Array>({
    transform(part, controller) {
      bytes += part.length;
      if (bytes > largestAnswer) throw new TypeError(`an answer of more than ${largestAnswer} bytes`);
      if (performance.now() - started > mostMs)
        throw new TypeError(`an answer of more than ${mostMs / 1000} s`);
      controller.enqueue(part);
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(counted), {
    status,
    statusText,
    headers: new Headers([...headers]),
  });
}

/** As far as a sentence needs it, or as comes in the time; what follows is not read. */
async function startOf(response: Response, timeoutMs: number): Promise<string> {
  const started = performance.now();
  const parts: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const part of response.body ?? []) {
      parts.push(part);
      bytes += part.length;
      if (bytes > largestRefusal || performance.now() - started > timeoutMs) break;
    }
  } catch {
    // What came is enough, or nothing is.
  }
  return Buffer.concat(parts).toString();
}

async function readRefusal(response: Response, timeoutMs: number): Promise<Refusal> {
  const header = (name: string): string => response.headers.get(name) ?? "";
  const body = await startOf(response, timeoutMs);
  return {
    status: response.status,
    code: header("x-error-code"),
    message: header("x-error-message") || errorOf(body),
  };
}

/** The `error` of a JSON answer. A web page of an error says nothing that fits into a sentence. */
function errorOf(body: string): string {
  try {
    const { error } = JSON.parse(body);
    return typeof error === "string" ? error : "";
  } catch {
    return "";
  }
}

/** Milliseconds that `Retry-After` asks for; undefined where it says nothing that can be read. */
function retryAfter(response: Response): number | undefined {
  const text = response.headers.get("retry-after") ?? "";
  if (/^\d+$/.test(text)) return 1000 * Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

function unreachable(
  origin: string,
  cause: unknown,
  { timeoutMs }: HubOptions,
  attempts: number,
): NetworkError {
  const reason = failureOf(cause, timeoutMs);
  return new NetworkError(`${quote(origin)} cannot be reached after ${attempts} tries: ${reason}`, {
    hint: "check the network, HF_ENDPOINT and the proxy; --offline uses what the cache holds",
    cause,
  });
}

/** Why a redirect was not followed; undefined where none is at fault. undici has no codes for it, only sentences. */
function redirectProblem(error: unknown): string | undefined {
  const reason = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  if (reason === "redirect count exceeded") return "redirects without end: 20 times, and then again";
  const isOdd = /^(URL scheme must be|URL cannot contain|cross origin not allowed|Invalid URL)/.test(reason);
  return isOdd ? "redirects to what is no address to follow" : undefined;
}

function misled(problem: string, cause: unknown, { id }: Subject, { endpoint }: HubOptions): NetworkError {
  return new NetworkError(`${quote(id)}: ${quote(endpoint)} ${problem}`, {
    hint: "check HF_ENDPOINT; something between here and the Hub may answer in its place",
    cause,
  });
}

/** `connection refused (ECONNREFUSED)`: fetch itself says "fetch failed" and keeps the reason as its cause. */
export function failureOf(error: unknown, timeoutMs: number): string {
  let innermost = error;
  for (let at = error; at instanceof Error; at = at.cause) {
    innermost = at;
    if (!("code" in at) || typeof at.code !== "string") continue;
    if (/TIMEOUT/.test(at.code)) return `no answer within ${timeoutMs / 1000} s`;
    const [, refusal] = /^Proxy response \((\d+)\)/.exec(at.message) ?? [];
    if (refusal === "407") return "the proxy asks for a password (407)";
    if (refusal !== undefined) return `the proxy refuses the connection (${refusal})`;
    if (at.code === "UND_ERR_ABORTED") return "the proxy or the server broke the connection off";
    return `${at.code}${at.message === "" ? "" : `: ${quote(at.message)}`}`;
  }
  if (!(innermost instanceof Error)) return "unknown reason";
  // undici has no words for an answer that it does not give out, most often 407.
  return innermost.message === ""
    ? "no answer to use; a proxy may ask for a password"
    : quote(innermost.message);
}
