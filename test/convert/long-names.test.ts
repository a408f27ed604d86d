import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { convert } from "../../src/convert/convert.ts";
import { exportDirectory } from "../../src/convert/export.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { restore } from "../../src/convert/restore.ts";
import { Prng } from "../safetensors/prng.ts";
import { decoderLayer, treeOf, writeCheckpoint } from "./checkpoints.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

test("names as long as a file system takes come back", async (t) => {
  const scratch = await scratchDirectory(t);
  const shard = `${"s".repeat(238)}.safetensors`;
  assert.equal(shard.length, 250);
  const source = writeCheckpoint(join(scratch, "source"), {
    [shard]: decoderLayer(new Prng(1), 0, "BF16", 32),
  });
  writeFileSync(join(source, "v".repeat(255)), "verbatim");
  const [out, back] = [join(scratch, "out"), join(scratch, "back")];
  const options = { plan: defaultPlanOptions, verify: "full", existing: "new" } as const;
  await convert(source, out, options, tool, runSettings(t));
  await restore(out, back, "new", runSettings(t));
  assert.deepEqual(treeOf(back), treeOf(source));
  for (const to of ["fp16", "fp8-only"] as const)
    await exportDirectory(out, to, join(scratch, to), "new", runSettings(t));
});
