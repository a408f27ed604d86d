import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Run } from "../cli/run.ts";
import { assertOk } from "../cli/run.ts";
import { writeModel } from "../convert/checkpoints.ts";
import { filesOf, gitBlobId } from "./contents.ts";
import type { HubRun } from "./hub-run.ts";
import { startHub } from "./hub-run.ts";

/** How a conversion with a cache of its own ended. */
export type Converted = {
  readonly name: string;
  readonly out: string;
  readonly ended: Run;
  /** Names in the folder of contents. */
  readonly blobs: readonly string[];
};

/** A test Hub with a model, published for all, for a token, and gated; and one shard of it that faults are for. */
export type PublishedModel = HubRun & {
  readonly source: string;
  /** An undisturbed conversion of it, and its cache is called so. */
  readonly reference: string;
  readonly shard: string;
  readonly content: Uint8Array;
  readonly shardSha256: string;
  /** Requests for the shard at the Hub, and where it redirects to. */
  readonly ofShard: RegExp;
  readonly inStorage: RegExp;
  /** Converts with an empty cache and an output of its own; the repository comes first, `org/model` when left out. */
  convert(env?: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Converted>;
  /** Whatever happened, what has the name of a content is that content. @returns the names */
  assertSound(cache: string, id?: string): string[];
};

export async function startWithModel(): Promise<PublishedModel> {
  const hubRun = await startHub();
  const { hub, scratch, cache, run } = hubRun;
  const source = writeModel(join(scratch, "source"), { width: 256 });
  const reference = join(scratch, "reference");
  const shard = "model-00002-of-00003.safetensors";
  const content = readFileSync(join(source, shard));
  const shardSha256 = createHash("sha256").update(content).digest("hex");
  hub.add("org/model", { files: filesOf(source) });
  hub.add("org/private", { files: filesOf(source), tokens: ["hf_good"] });
  hub.add("org/gated", { files: filesOf(source), tokens: ["hf_good"], gated: true });
  assertOk(await run(["convert", "org/model", "-o", reference], { cache: "reference" }));

  const assertSound = (name: string, id = "org/model"): string[] => {
    const folder = join(cache(name), `models--${id.replace("/", "--")}`, "blobs");
    const names = existsSync(folder) ? readdirSync(folder) : [];
    for (const blob of names.filter((entry) => !entry.endsWith(".incomplete"))) {
      const bytes = readFileSync(join(folder, blob));
      const hash = blob.length === 40 ? gitBlobId(bytes) : createHash("sha256").update(bytes).digest("hex");
      assert.equal(hash, blob);
    }
    return names;
  };
  let cases = 0;
  const convert: PublishedModel["convert"] = async (env = {}, repo = "org/model", ...args) => {
    const name = `case-${++cases}`;
    const out = join(scratch, name);
    const ended = await run(["convert", repo, "-o", out, ...args], { cache: name, env });
    return { name, out, ended, blobs: assertSound(name, repo.replace(/@.*/, "")) };
  };
  const ofShard = new RegExp(`/resolve/.*/${shard}$`);
  const inStorage = new RegExp(`^GET /${shardSha256}`);
  const model = { source, reference, shard, content, shardSha256, ofShard, inStorage };
  return { ...hubRun, ...model, convert, assertSound };
}
