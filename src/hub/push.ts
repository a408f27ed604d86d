import { pathToFileURL } from "node:url";
import { type CommitOperation, commitIter, createRepo } from "@huggingface/hub";
import { NetworkError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { inputError } from "../safetensors/system-error.ts";
import { HubClient } from "./client.ts";
import type { HubOptions } from "./hub-options.ts";
import { withCheckedBatch } from "./lfs-batch.ts";
import type { RepoReference } from "./repo-id.ts";
import { understood } from "./repository.ts";
import { settle, type Watch } from "./settle.ts";
import { StatusError } from "./status-error.ts";

/** A file to publish: one of this disk, or bytes made for it. */
export type PushedFile = {
  /** In the repository. */
  readonly path: string;
  readonly size: number;
  readonly content: { readonly file: string } | { readonly bytes: Uint8Array };
};

export type PushOptions = {
  readonly title: string;
  /** Of a repository that is made; one that exists stays as it is. */
  readonly isPrivate: boolean;
  /** As a pull request to a repository that exists. */
  readonly pullRequest: boolean;
};

export type Pushed = { readonly commit: string; readonly url: string; readonly pullRequest: string | null };

/** Share of a file that is hashed or uploaded, from 0 to 1. */
export type PushListener = (path: string, state: "hashing" | "uploading", share: number) => void;

// Long uploads end with answers that take their time.
const patienceMs = 300_000;
// Of the time-out that the user chose: a disk that is read for a hash may pause longer than a server.
const stallTimeouts = 6;

type Committing = ReturnType<typeof commitIter>;

/**
 * Publishes files as one commit, in a repository that is made when it is not there.
 *
 * @throws NetworkError, also without a token or offline
 */
export async function push(
  reference: RepoReference,
  files: readonly PushedFile[],
  options: PushOptions,
  hub: HubOptions,
  signal: AbortSignal,
  listener: PushListener,
): Promise<Pushed> {
  refuseUnable(reference, hub);
  const client = new HubClient({ ...hub, timeoutMs: Math.max(hub.timeoutMs, patienceMs) });
  try {
    if (!options.pullRequest) await makeRepository(client, reference, options.isPrivate, signal);
    const watch = { signal, stallMs: stallTimeouts * hub.timeoutMs };
    const send = () => commit(client, reference, files, options, watch, listener);
    return await understood(reference.id, () => send().catch(rethrowOfFile));
  } catch (error) {
    // What the library makes of an abort is its own error.
    signal.throwIfAborted();
    throw error;
  } finally {
    await client.close();
  }
}

/** What the system says of a file is not the Hub's answer. */
function rethrowOfFile(error: unknown): never {
  const isOfFile = error instanceof Error && "path" in error && typeof error.path === "string";
  throw isOfFile ? inputError(error, String(error.path)) : error;
}

function refuseUnable({ id }: RepoReference, { offline, token }: HubOptions): void {
  if (offline) {
    throw new NetworkError(`${quote(id)} cannot be written: this run is offline`, {
      hint: "leave --offline and HF_HUB_OFFLINE out",
    });
  }
  if (token === undefined) {
    throw new NetworkError(`${quote(id)} cannot be written without a token`, {
      hint: "give --token or HF_TOKEN with a token that may write",
    });
  }
}

async function makeRepository(
  client: HubClient,
  { id, type }: RepoReference,
  isPrivate: boolean,
  signal: AbortSignal,
): Promise<void> {
  const params = {
    repo: { type, name: id },
    // Without the flag the organisation's own default holds.
    ...(isPrivate && { visibility: "private" as const }),
    hubUrl: client.options.endpoint,
    fetch: client.fetchFor({ id }, signal),
  };
  try {
    await understood(id, () => createRepo(params as Parameters<typeof createRepo>[0]));
  } catch (error) {
    if (!(error instanceof StatusError) || error.status !== 409) throw error;
  }
}

async function commit(
  client: HubClient,
  { id, type, revision }: RepoReference,
  files: readonly PushedFile[],
  { title, pullRequest }: PushOptions,
  watch: Watch,
  listener: PushListener,
): Promise<Pushed> {
  const operations = files.map(
    ({ path, content }): CommitOperation => ({
      operation: "addOrUpdate",
      path,
      content:
        "file" in content
          ? pathToFileURL(content.file)
          : new Blob([content.bytes as Uint8Array<ArrayBuffer>]),
    }),
  );
  const begin = (fetch: typeof globalThis.fetch, abortSignal: AbortSignal): Committing =>
    commitIter({
      repo: { type, name: id },
      branch: revision,
      title,
      operations,
      isPullRequest: pullRequest,
      hubUrl: client.options.endpoint,
      fetch,
      abortSignal,
      // Its storage takes a token of its own, and this client sends none but the user's.
      useXet: false,
    });
  const request = withCheckedBatch(client.fetchFor({ id, revision }, watch.signal), id);
  const value = await settle(begin, request, watch, (event) => {
    if (event.event === "fileProgress" && event.state !== "error")
      listener(event.path, event.state, event.progress);
  });
  const { oid, url }: { readonly oid?: unknown; readonly url?: unknown } = value?.commit ?? {};
  if (typeof oid !== "string" || typeof url !== "string") throw new TypeError("no commit");
  const pullRequestUrl: unknown = value?.pullRequestUrl ?? null;
  return { commit: oid, url, pullRequest: pullRequestUrl === null ? null : String(pullRequestUrl) };
}
