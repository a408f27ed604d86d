import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { convert } from "../../src/convert/convert.ts";
import { dryRun } from "../../src/convert/dry-run.ts";
import { manifestName } from "../../src/convert/manifest.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { writeModel } from "./checkpoints.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

test("what is not copied is in the result, and a warning where somebody wanted it", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"));
  mkdirSync(join(source, "onnx"));
  writeFileSync(join(source, "pytorch_model.bin"), "");
  symlinkSync("../blobs/gone", join(source, "vocab.json"));
  const expected = [
    { path: "onnx", reason: "sub-folder" },
    { path: "pytorch_model.bin", reason: "other weight format" },
    { path: "vocab.json", reason: "broken link" },
  ];
  const message =
    '"vocab.json" is not copied: it is a link that leads nowhere, or has a name that cannot be read';

  const planned = runSettings(t);
  await dryRun(source, undefined, defaultPlanOptions, planned);
  const out = join(scratch, "out");
  for (const existing of ["new", "resume"] as const) {
    const settings = runSettings(t);
    const options = { plan: defaultPlanOptions, verify: "none", existing } as const;
    assert.deepEqual((await convert(source, out, options, tool, settings)).omitted, expected);
    for (const { events } of [settings, planned]) {
      const warnings = events.filter(({ type }) => type === "warning");
      assert.deepEqual(warnings, [{ type: "warning", message }], existing);
    }
  }
  const manifest = JSON.parse(readFileSync(join(out, manifestName), "utf8"));
  assert.deepEqual(manifest.source.omitted, expected);
});

test("a name that is not UTF-8 is a warning too", { skip: process.platform !== "linux" }, async (t) => {
  const source = writeModel(join(await scratchDirectory(t), "source"));
  writeFileSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0x66, 0xff])]), "");
  const settings = runSettings(t);
  await dryRun(source, undefined, defaultPlanOptions, settings);
  const [warning] = settings.events.filter(({ type }) => type === "warning");
  assert.match(warning?.type === "warning" ? warning.message : "", /^"f.+" is not copied: /);
});
