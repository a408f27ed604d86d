import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { scratchDirectory } from "../convert/scratch.ts";
import { assertOk, assertRefused, nestedfp, root } from "./run.ts";

const text = join(root, "fixtures/text/overlay.txt");

/** The tiny model with one more member in its config.json, as Python's json.dumps would write it. */
async function modelWith(t: TestContext, member: string): Promise<string> {
  const copy = join(await scratchDirectory(t), "tiny");
  cpSync(join(root, "fixtures/tiny-llama"), copy, { recursive: true });
  const path = join(copy, "config.json");
  writeFileSync(path, readFileSync(path, "utf8").replace("{", `{\n  ${member},`));
  return copy;
}

test("a config.json with Infinity and NaN goes the whole way and comes back as it was", async (t) => {
  const source = await modelWith(t, '"time_step_limit": [0.0, Infinity, -Infinity, NaN]');
  const converted = join(source, "../converted");
  const back = join(source, "../back");
  assertOk(await nestedfp(["convert", source, "-o", converted]));
  assertOk(await nestedfp(["verify", converted, "--deep", "--against", source]));
  assertOk(await nestedfp(["restore", converted, "-o", back]));
  assert.deepEqual(readFileSync(join(back, "config.json")), readFileSync(join(source, "config.json")));
  const env = { XDG_CACHE_HOME: await scratchDirectory(t) };
  const options = ["--text", text, "--limit", "1", "--ctx", "32"];
  for (const model of [source, converted]) assertOk(await nestedfp(["eval", model, ...options], { env }));
});

test("where the model needs a number, it must be finite", async (t) => {
  const source = await modelWith(t, '"partial_rotary_factor": Infinity');
  const run = await nestedfp(["eval", source, "--text", text]);
  assertRefused(run, 4, /"partial_rotary_factor" must be a finite number, found Infinity$/);
});
