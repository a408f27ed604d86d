import { setTimeout as wait } from "node:timers/promises";
import { NestedFpError, NetworkError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { HubClient } from "./client.ts";
import { failureOf, slowestAnswer } from "./client.ts";
import { contentHash } from "./content-hash.ts";
import type { RepoFile, Repository } from "./repository.ts";
import { resolveUrl } from "./repository.ts";

/** 10 kB/s: nobody waits for the header of a shard behind a line that is slower. */
const slowestBytesPerMs = 10;

/**
 * Reads `length` bytes of a file from `start`, and no more of it. What is the whole file is checked against the id that
 * the Hub lists.
 *
 * @throws NetworkError, also for a server that does not serve ranges, unless what is asked for is the whole file
 */
export async function readRange(
  client: HubClient,
  repository: Repository,
  file: RepoFile,
  start: number,
  length: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { reference, commit } = repository;
  const {
    retry: { tries, delayMs },
    timeoutMs,
  } = client.options;
  const subject = { id: reference.id, revision: commit, path: file.path };
  const fail = (problem: string): NetworkError =>
    new NetworkError(`${quote(reference.id)}: file ${quote(file.path)}: ${problem}`, {
      hint: "a proxy may be at fault; without --stream and with `convert`, whole files are fetched",
    });
  if (length === 0) return new Uint8Array(0);
  const headers = { range: `bytes=${start}-${start + length - 1}`, "accept-encoding": "identity" };
  for (let attempt = 1; ; attempt++) {
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    try {
      const url = resolveUrl(client, repository, file.path);
      const response = await client.request(url, { subject, signal: both, init: { headers } });
      const range = response.headers.get("content-range") ?? "";
      const isWhole = start === 0 && length === file.size;
      const plain = isWhole && response.status === 200;
      if (!plain && response.status !== 206) throw fail("the server does not serve parts of it");
      if (!plain && range !== `bytes ${start}-${start + length - 1}/${file.size}`) {
        throw fail(
          `the server sends ${quote(range)} for bytes ${start} to ${start + length - 1} of ${file.size}`,
        );
      }
      const mostMs = slowestAnswer * timeoutMs + length / slowestBytesPerMs;
      const bytes = await take(response, length, mostMs);
      if (bytes === "late") throw fail(`${length} bytes at ${start} did not come in ${mostMs / 1000} s`);
      const isRight = bytes && (!isWhole || contentHash(file).update(bytes).digest("hex") === file.oid);
      if (bytes && isRight) return bytes;
      if (attempt >= tries && bytes)
        throw fail(
          `the content is not that of the ${file.kind} ${file.oid} that the Hub lists, ${tries} times`,
        );
      if (attempt >= tries) throw fail(`not ${length} bytes at ${start} came, ${tries} times`);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof NestedFpError) throw error;
      if (attempt >= tries) throw fail(failureOf(error, timeoutMs));
    } finally {
      stop.abort();
    }
    await wait(delayMs * 2 ** (attempt - 1), undefined, { signal }).catch(() => undefined);
  }
}

/** Exactly `length` bytes of a body; undefined when it has fewer or more. */
async function take(
  response: Response,
  length: number,
  mostMs: number,
): Promise<Uint8Array | undefined | "late"> {
  const started = performance.now();
  const bytes = new Uint8Array(length);
  let done = 0;
  for await (const part of response.body ?? []) {
    if (done + part.length > length) return undefined;
    if (performance.now() - started > mostMs) return "late";
    bytes.set(part, done);
    done += part.length;
  }
  return done === length ? bytes : undefined;
}
