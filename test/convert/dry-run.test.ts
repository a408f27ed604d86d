import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dryRun } from "../../src/convert/dry-run.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { writeModel } from "./checkpoints.ts";
import { runSettings, scratchDirectory } from "./scratch.ts";

test("a dry run says when the output directory is not empty", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"));
  const out = join(scratch, "out");
  const warnings = async (): Promise<string[]> => {
    const settings = runSettings(t);
    await dryRun(source, out, defaultPlanOptions, settings);
    return settings.events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
  };
  assert.deepEqual(await warnings(), []);
  mkdirSync(out);
  assert.deepEqual(await warnings(), []);
  writeFileSync(join(out, "notes.txt"), "mine");
  const [warning = ""] = await warnings();
  assert.match(
    warning,
    /out" is not empty \(it holds "notes\.txt"\): a conversion needs --resume or --force$/,
  );
});
