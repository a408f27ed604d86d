import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkManifest } from "../../src/convert/check-manifest.ts";
import { convert } from "../../src/convert/convert.ts";
import type { Manifest } from "../../src/convert/manifest.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

const source = fileURLToPath(new URL("../../fixtures/checkpoints/bf16", import.meta.url));

type Mutable = { -readonly [K in keyof Manifest]: ReturnType<typeof JSON.parse> };

// Each makes the manifest contradict itself, and nothing else in the directory would tell.
const lies: readonly (readonly [string, (manifest: Mutable) => void, RegExp])[] = [
  [
    "a pair that is not listed",
    (m) =>
      m.files.splice(
        m.files.findIndex((f: { role: string }) => f.role === "upper"),
        1,
      ),
    /as upper/,
  ],
  ["a file listed twice", (m) => m.files.push(m.files[0]), /twice/],
  ["a tensor listed twice", (m) => m.tensors.push(m.tensors[0]), /tensor twice/],
  [
    "words lost, yet restorable",
    (m) => m.tensors.find((t: { planes: unknown }) => t.planes).inexact++,
    /restorable true/,
  ],
  ["nothing lost, yet not restorable", (m) => (m.restorable = false), /restorable false/],
  [
    "a reason to keep a split tensor",
    (m) => (m.tensors.find((t: { planes: unknown }) => t.planes).reason = "group"),
    /at once/,
  ],
  ["another count", (m) => m.summary.split++, /summary/],
  ["another coverage", (m) => (m.summary.coverage = 0.5), /summary/],
];

test("a manifest as written does not contradict itself, and every lie in it is found", async (t) => {
  const output = join(await scratchDirectory(t), "out");
  const options = { plan: defaultPlanOptions, verify: "none", existing: "new" } as const;
  await convert(source, output, options, tool, runSettings(t));
  const read = (): Mutable => JSON.parse(readFileSync(join(output, "nestedfp/manifest.json"), "utf8"));
  assert.deepEqual(checkManifest(read() as Manifest), []);
  for (const [what, lie, message] of lies) {
    const manifest = read();
    lie(manifest);
    assert.match(
      checkManifest(manifest as Manifest)
        .map((problem) => problem.message)
        .join("\n"),
      message,
      what,
    );
  }
});
