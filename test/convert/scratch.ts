import { mkdtempSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { createCodec } from "../../src/codec/create-codec.ts";
import type { RunSettings } from "../../src/convert/analyse.ts";
import type { RunEvent } from "../../src/convert/events.ts";

/** A directory that is removed when the test ends. */
export async function scratchDirectory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "nestedfp-test-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Settings of a run with small blocks, so that small fixtures take more than one, and a record of its events. */
export function runSettings(
  t: TestContext,
  {
    blockBytes = 4096,
    workers = 2,
    threads = 2,
  }: { blockBytes?: number; workers?: number; threads?: number } = {},
): RunSettings & { readonly events: RunEvent[] } {
  const codec = createCodec({ threads });
  t.after(() => codec.close());
  const events: RunEvent[] = [];
  return {
    codec,
    budget: { blockBytes, workers },
    signal: new AbortController().signal,
    listener: (event) => events.push(event),
    events,
  };
}

export const tool = { name: "nestedfp", version: "0.0.0-test" };

/** A temporary directory of a whole file of tests; `remove` it in `after`. */
export function sharedScratch(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "nestedfp-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
