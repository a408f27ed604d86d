import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { convert } from "../../src/convert/convert.ts";
import { exportDirectory } from "../../src/convert/export.ts";
import { pairFileNames } from "../../src/convert/layout.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { restore } from "../../src/convert/restore.ts";
import { openShard } from "../../src/safetensors/reader.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

const source = fileURLToPath(new URL("../../fixtures/checkpoints/group-two-shards", import.meta.url));

async function convertedWithDamage(
  scratch: string,
  settings: ReturnType<typeof runSettings>,
  role: "upper" | "lower",
  kind: (name: string) => boolean,
): Promise<string> {
  const output = join(scratch, "converted");
  await convert(
    source,
    output,
    { plan: defaultPlanOptions, verify: "none", existing: "new" },
    tool,
    settings,
  );
  const path = join(output, pairFileNames(1, 2)[role]);
  const shard = await openShard(path);
  const info = shard.header.tensors.find(
    (tensor) => kind(tensor.name) && tensor.dataOffsets[1] > tensor.dataOffsets[0],
  );
  await shard.close();
  assert.ok(info, "the fixture has such a tensor in its second shard");
  const bytes = readFileSync(path);
  const at = shard.header.headerBytes + info.dataOffsets[0];
  // Still valid, but another value: a row shift of 1 for none, or another sign or residual.
  if (info.name.endsWith("_scale")) bytes.writeFloatLE(2 ** -7, at);
  else bytes.writeUInt8(bytes.readUInt8(at) ^ 0x80, at);
  writeFileSync(path, bytes);
  return output;
}

const places = [
  ["an upper plane", "upper", (name: string) => name.endsWith("_proj.weight")],
  ["a scale", "upper", (name: string) => name.endsWith("_scale")],
  ["a lower plane", "lower", (name: string) => name.endsWith("_lower")],
  ["a kept tensor", "upper", (name: string) => name.endsWith("norm.weight")],
] as const;

for (const [what, role, kind] of places) {
  test(`export to FP16 notices a bit flipped in ${what} and leaves nothing`, async (t) => {
    const scratch = await scratchDirectory(t);
    const settings = runSettings(t);
    const damaged = await convertedWithDamage(scratch, settings, role, kind);
    const output = join(scratch, "fp16");
    await assert.rejects(exportDirectory(damaged, "fp16", output, "new", settings), { exitCode: 1 });
    assert.ok(!existsSync(output), "the whole shards that came before go, too");
  });

  test(`restore notices a bit flipped in ${what} and leaves nothing`, async (t) => {
    const scratch = await scratchDirectory(t);
    const settings = runSettings(t, { workers: 1 });
    const damaged = await convertedWithDamage(scratch, settings, role, kind);
    const output = join(scratch, "restored");
    await assert.rejects(restore(damaged, output, "new", settings), { exitCode: 1 });
    assert.ok(!existsSync(output), "the whole shards that came before go, too");
  });
}
