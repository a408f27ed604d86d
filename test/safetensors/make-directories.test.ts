import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { MachineError } from "../../src/errors.ts";
import { makeDirectories } from "../../src/safetensors/make-directories.ts";
import { scratchDirectory } from "../convert/scratch.ts";

test("all that are missing are made, and told from the innermost on", async (t) => {
  const base = await scratchDirectory(t);
  const [a, b] = [join(base, "a"), join(base, "a/b")];
  assert.deepEqual(await makeDirectories(b), [b, a]);
  assert.deepEqual(await makeDirectories(b), []);
  assert.ok(existsSync(b));
});

test("a name too long at the end takes back what was made before it", async (t) => {
  const base = await scratchDirectory(t);
  await assert.rejects(makeDirectories(join(base, "a", "b".repeat(300))), MachineError);
  assert.ok(!existsSync(join(base, "a")));
});

test("a file in the way is named", async (t) => {
  const file = join(await scratchDirectory(t), "file");
  writeFileSync(file, "");
  await assert.rejects(
    makeDirectories(join(file, "below")),
    /file\/below" cannot be written: not a directory/,
  );
});

// Node's own recursive mkdir tries for ever there.
test("a file system without folders of ours ends it", { skip: process.platform !== "linux" }, async () => {
  await assert.rejects(makeDirectories("/proc/nowhere/at/all"), {
    name: "MachineError",
    message: '"/proc/nowhere/at/all" cannot be written: no such file or directory (ENOENT)',
  });
});
