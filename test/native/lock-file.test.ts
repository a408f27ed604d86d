import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { lockFile } from "../../src/native/lock-file.ts";
import { scratchDirectory } from "../convert/scratch.ts";

test("one lock at a time; who closes it lets the next one in", async (t) => {
  const path = join(await scratchDirectory(t), "lock");
  const first = (await lockFile(path)) ?? assert.fail();
  assert.equal(await lockFile(path), undefined);
  await first.close();
  const second = (await lockFile(path)) ?? assert.fail();
  await second.close();
});

test("a lock on a file that was removed meanwhile is no lock", async (t) => {
  const path = join(await scratchDirectory(t), "lock");
  const removing = (): boolean => {
    rmSync(path);
    return true;
  };
  assert.equal(await lockFile(path, removing), undefined);
  const handle = (await lockFile(path)) ?? assert.fail();
  await handle.close();
});

test("a pipe is no lock, and nobody waits for its reader", {
  skip: process.platform === "win32" && "skipped: no pipes with names",
}, async (t) => {
  const path = join(await scratchDirectory(t), "lock");
  execFileSync("mkfifo", [path]);
  await assert.rejects(lockFile(path), { code: "ENXIO" });
});

test("a file system without locks is told, and the file is closed", {
  skip: process.platform !== "linux" && "skipped: no /proc to see open files in",
}, async (t) => {
  const path = join(await scratchDirectory(t), "lock");
  const noLocks = (): never => {
    throw Object.assign(new Error("ENOLCK: flock of descriptor 3 failed"), { code: "ENOLCK" });
  };
  await assert.rejects(lockFile(path, noLocks), { code: "ENOLCK" });
  const open = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // the descriptor of this listing
    }
  });
  assert.ok(!open.includes(path));
});
