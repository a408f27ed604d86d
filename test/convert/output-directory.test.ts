import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { isUnfinished, OutputDirectory } from "../../src/convert/output-directory.ts";
import { UsageError } from "../../src/errors.ts";
import { treeOf } from "./checkpoints.ts";
import { scratchDirectory } from "./scratch.ts";

const refused =
  (sentence: RegExp) =>
  (error: unknown): boolean =>
    error instanceof UsageError && sentence.test(error.message);

test("a finished directory holds what was placed, and nothing else", async (t) => {
  const path = join(await scratchDirectory(t), "deep/out");
  const directory = await OutputDirectory.open(path, "new", "convert");
  assert.ok(await isUnfinished(path));
  await directory.writeRecord("run.json", { a: 1 });
  await directory.writeFile("nestedfp/a.txt", Buffer.from("a"));
  await directory.writeFile("config.json", Buffer.from("{}"));
  await directory.finish();
  assert.deepEqual(Object.keys(treeOf(path)), ["config.json", "nestedfp/a.txt"]);
});

test("a run that fails before it placed anything leaves nothing, not even parents that it made", async (t) => {
  const scratch = await scratchDirectory(t);
  const directory = await OutputDirectory.open(join(scratch, "a/b/out"), "new", "convert");
  await directory.writeRecord("run.json", {});
  await directory.abandon(false);
  assert.deepEqual(readdirSync(scratch), []);

  mkdirSync(join(scratch, "mine"));
  await (await OutputDirectory.open(join(scratch, "mine"), "new", "convert")).abandon(false);
  assert.deepEqual(readdirSync(join(scratch, "mine")), [], "a directory that was there stays");
});

test("a run that is interrupted, or fails later, keeps its records and removes its temporary files", async (t) => {
  for (const interrupted of [true, false]) {
    const path = join(await scratchDirectory(t), "out");
    const directory = await OutputDirectory.open(path, "new", "convert");
    await directory.writeRecord("run.json", {});
    if (!interrupted) await directory.writeFile("a", Buffer.from("a"));
    writeFileSync(directory.temporaryPath("nestedfp/b"), "half");
    await directory.abandon(interrupted);
    assert.deepEqual(readdirSync(join(path, ".nestedfp")).sort(), ["lock", "run.json"]);
    await assert.rejects(OutputDirectory.open(path, "new", "convert"), refused(/holds an unfinished run/));
    const again = await OutputDirectory.open(path, "resume", "convert");
    assert.ok(again.foundWork);
    await again.removeRecords();
    await again.abandon(false);
    assert.deepEqual(readdirSync(join(path, ".nestedfp")), ["lock"]);
  }
});

test("one run at a time, whatever the policy, and the lock goes with its run", async (t) => {
  const path = join(await scratchDirectory(t), "out");
  const first = await OutputDirectory.open(path, "new", "convert");
  for (const policy of ["new", "resume", "force"] as const)
    await assert.rejects(
      OutputDirectory.open(path, policy, "convert"),
      refused(/is being written by another run of nestedfp/),
    );
  await first.writeFile("a", Buffer.from("1"));
  await first.finish();
  const second = await OutputDirectory.open(path, "force", "convert");
  await second.finish();
  assert.deepEqual(readdirSync(path), ["a"]);
});

test("files and links in the way are refused, and links are not followed", async (t) => {
  const scratch = await scratchDirectory(t);
  writeFileSync(join(scratch, "file"), "");
  await assert.rejects(OutputDirectory.open(join(scratch, "file"), "force", "convert"), refused(/is a file/));
  mkdirSync(join(scratch, "elsewhere"));
  for (const folder of [".nestedfp", "nestedfp", "nestedfp/source"]) {
    const out = join(scratch, `linked-${folder.replace("/", "-")}`);
    mkdirSync(out);
    mkdirSync(dirname(join(out, folder)), { recursive: true });
    symlinkSync(join(scratch, "elsewhere"), join(out, folder));
    await assert.rejects(OutputDirectory.open(out, "force", "convert"), refused(/is a symbolic link/));
  }
  const out = join(scratch, "out");
  mkdirSync(join(out, ".nestedfp"), { recursive: true });
  symlinkSync(join(scratch, "victim"), join(out, ".nestedfp/lock"));
  await assert.rejects(OutputDirectory.open(out, "resume", "convert"), { exitCode: 3 });
  assert.ok(!existsSync(join(scratch, "victim")));
  assert.deepEqual(readdirSync(join(scratch, "elsewhere")), []);
});

test("a link under a final name is replaced, and what it leads to stays", async (t) => {
  const scratch = await scratchDirectory(t);
  writeFileSync(join(scratch, "victim"), "mine");
  const out = join(scratch, "out");
  mkdirSync(out);
  symlinkSync(join(scratch, "victim"), join(out, "config.json"));
  const before = treeOf(scratch).victim;
  const directory = await OutputDirectory.open(out, "force", "convert");
  await directory.writeFile("config.json", Buffer.from("{}"));
  await directory.finish();
  assert.equal(treeOf(scratch).victim, before);
  assert.notEqual(treeOf(out)["config.json"], "no file");
});

test("a temporary name is short, whatever the file will be called, and another for each", async (t) => {
  const directory = await OutputDirectory.open(await scratchDirectory(t), "new", "convert");
  const names = ["a", "b", "a/b", "a-b", "x".repeat(255), "é".repeat(127)];
  const paths = new Set(names.map((name) => basename(directory.temporaryPath(name))));
  assert.equal(paths.size, names.length);
  for (const path of paths) assert.match(path, /^[0-9a-f]{16}\.tmp$/);
  await directory.finish();
});

test("what one command left is not resumed by another; a directory that nobody claimed is", async (t) => {
  const path = join(await scratchDirectory(t), "out");
  const restoring = await OutputDirectory.open(path, "new", "restore");
  await restoring.claim();
  await restoring.abandon(true);
  await assert.rejects(
    OutputDirectory.open(path, "resume", "convert"),
    refused(/holds an unfinished restore, which convert cannot resume$/),
  );
  const forced = await OutputDirectory.open(path, "force", "convert");
  assert.equal(forced.foundCommand, "restore");
  await forced.removeRecords();
  await forced.abandon(true);
  const again = await OutputDirectory.open(path, "force", "convert");
  assert.equal(again.foundCommand, "restore", "until the conversion claims the directory");
  await again.claim();
  await again.abandon(true);
  const resumed = await OutputDirectory.open(path, "resume", "convert");
  assert.equal(resumed.foundCommand, "convert");
  await resumed.finish();
});
