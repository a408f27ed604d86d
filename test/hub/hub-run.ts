import { join } from "node:path";
import { after, beforeEach } from "node:test";
import type { Run, RunOptions, Started } from "../cli/run.ts";
import { start } from "../cli/run.ts";
import { sharedScratch } from "../convert/scratch.ts";
import { TestHub } from "./test-hub.ts";

/** A test Hub and an empty home of the Hub's tools, for a file of tests. */
export type HubRun = {
  readonly hub: TestHub;
  readonly scratch: string;
  /** A cache of its own for each name. */
  cache(name: string): string;
  run(args: readonly string[], options?: RunOptions & { readonly cache?: string }): Promise<Run>;
  start(args: readonly string[], options?: RunOptions & { readonly cache?: string }): Started;
};

/** Starts a test Hub; the real binary is driven against it through HF_ENDPOINT. */
export async function startHub(): Promise<HubRun> {
  const hub = await TestHub.start();
  const scratch = sharedScratch();
  beforeEach(() => hub.reset());
  after(async () => {
    await hub.stop();
    scratch.remove();
  });
  const cache = (name: string): string => join(scratch.path, "caches", name);
  const startHere: HubRun["start"] = (args, { cache: name = "default", env, ...options } = {}) =>
    start(args, {
      ...options,
      env: {
        HF_ENDPOINT: hub.url,
        HF_HOME: join(scratch.path, "home"),
        HF_HUB_CACHE: cache(name),
        // Retries follow at once, and silence is noticed soon.
        NESTEDFP_RETRY_MS: "1",
        HF_HUB_DOWNLOAD_TIMEOUT: "20",
        ...noEnvironment,
        ...env,
      },
    });
  return {
    hub,
    scratch: scratch.path,
    cache,
    start: startHere,
    run: (args, options) => startHere(args, options).ended,
  };
}

// Of whoever runs the tests.
const noEnvironment = Object.fromEntries(
  ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
    .concat(
      ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"].flatMap((name) => [name, name.toLowerCase()]),
    )
    .map((name) => [name, ""]),
);
