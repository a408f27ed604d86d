import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { MachineError } from "../../src/errors.ts";
import { addonPaths, loadAddon, tryLock } from "../../src/native/addon.ts";

const folder = mkdtempSync(join(tmpdir(), "nestedfp-addon-"));
after(() => rmSync(folder, { recursive: true }));

test("a missing and a broken addon are one MachineError with both reasons", () => {
  const missing = join(folder, "missing.node");
  const broken = join(folder, "broken.node");
  writeFileSync(broken, "no shared object");
  assert.throws(
    () => loadAddon([missing, broken]),
    (error) => {
      assert.ok(error instanceof MachineError);
      assert.ok(error.message.includes(`${missing}: not found`), error.message);
      assert.match(error.message, /broken\.node: .*(file too short|invalid ELF header|not a mach-o)/i);
      assert.match(error.hint ?? "", /npm run build/);
      return true;
    },
  );
});

test("the second path is tried when the first is missing", () => {
  const addon = loadAddon([join(folder, "missing.node"), ...addonPaths()]);
  assert.equal(addon.implementations().at(-1), "scalar");
});

test("a lock excludes another open of the file and ends with its descriptor", () => {
  const path = join(folder, "lock");
  const first = openSync(path, "w");
  const second = openSync(path, "w");
  assert.equal(tryLock(first), true);
  assert.equal(tryLock(first), true);
  assert.equal(tryLock(second), false);
  closeSync(first);
  assert.equal(tryLock(second), true);
  closeSync(second);
});

test("a lock is held by another process until that is killed", async () => {
  const path = join(folder, "lock of a child");
  const holder = spawn(process.execPath, [
    "-e",
    `const { tryLock } = require(${JSON.stringify(addonPaths()[0])});
     const fd = require("node:fs").openSync(${JSON.stringify(path)}, "w");
     console.log(tryLock(fd));
     setInterval(() => {}, 1000);`,
  ]);
  const [answer] = await once(holder.stdout, "data");
  assert.equal(String(answer).trim(), "true");
  const fd = openSync(path, "w");
  assert.equal(tryLock(fd), false);
  holder.kill("SIGKILL");
  await once(holder, "exit");
  assert.equal(tryLock(fd), true);
  closeSync(fd);
});

test("a lock on a closed descriptor is an error with its name and text", () => {
  assert.throws(() => tryLock(987654), {
    code: "EBADF",
    message: /EBADF: flock of descriptor 987654 failed, Bad/,
  });
  assert.throws(() => tryLock(-1), { name: "RangeError" });
});
