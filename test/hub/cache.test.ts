import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { lockFile } from "../../src/native/lock-file.ts";
import { assertOk, assertRefused, root } from "../cli/run.ts";
import { noMount, smallDisk } from "../cli/small-disk.ts";
import { treeOf } from "../convert/checkpoints.ts";
import { filesOf } from "./contents.ts";
import { startWithModel } from "./published-model.ts";

const { hub, source, scratch, cache, run, start, reference, content, shardSha256, inStorage, assertSound } =
  await startWithModel();

/** Temporary names below a cache, at any depth. */
function temporaryIn(name: string): string[] {
  return readdirSync(cache(name), { recursive: true, encoding: "utf8" }).filter((path) =>
    /\.tmp$/.test(path),
  );
}

describe("the cache", () => {
  test("that is complete needs no content again", async () => {
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "again")], { cache: "reference" }));
    assert.deepEqual(
      hub.requests.filter(({ storage, range }) => storage && range === undefined),
      [],
    );
  });

  test("that is complete, but for locks, may be read-only, or a link", { skip: noMount }, async (t) => {
    const disk = await smallDisk(t, 64 << 20);
    cpSync(join(cache("reference"), "models--org--model"), join(disk, "elsewhere"), {
      recursive: true,
      verbatimSymlinks: true,
    });
    mkdirSync(join(disk, "cache"));
    symlinkSync("../elsewhere", join(disk, "cache", "models--org--model"));
    execFileSync("mount", ["-o", "remount,ro", disk]);
    const out = join(scratch, "read-only");
    assertOk(await run(["convert", "org/model", "-o", out], { env: { HF_HUB_CACHE: join(disk, "cache") } }));
    assert.deepEqual(treeOf(out), treeOf(reference));
    hub.add("org/small", { files: filesOf(source) });
    const other = await run(["convert", "org/small", "-o", `${out}-2`], {
      env: { HF_HUB_CACHE: join(disk, "cache") },
    });
    assertRefused(other, 3, /cannot be written: read-only file system \(EROFS\)/);
    assert.match(other.stderr, /Hint: .*HF_HUB_CACHE/);
  });

  test("of a run that was killed is gone on with", async () => {
    const args = ["convert", "org/model", "-o", join(scratch, "killed")];
    hub.fail(inStorage, { kind: "silence", bytes: 100_000 }, 1);
    const first = start(args, { cache: "killed" });
    const partial = join(cache("killed"), "models--org--model/blobs", `${shardSha256}.incomplete`);
    while (!existsSync(partial) || readFileSync(partial).length < 100_000)
      await new Promise((done) => setTimeout(done, 5));
    first.child.kill("SIGKILL");
    await first.ended;
    hub.requests.length = 0;
    assertOk(await run(args, { cache: "killed" }));
    assert.ok(
      hub.requests.some(({ url, range }) => inStorage.test(`GET ${url}`) && range === "bytes=100000-"),
    );
    assert.deepEqual(treeOf(join(scratch, "killed")), treeOf(reference));
    assertSound("killed");
  });

  test("of a run that was killed before a link has its name holds no other file of the repository", async () => {
    const preload = join(scratch, "dying.mjs");
    const death = `
      import fs from "node:fs/promises";
      import { syncBuiltinESMExports } from "node:module";
      const { rename } = fs;
      fs.rename = (from, to) =>
        to.includes("snapshots") ? process.kill(process.pid, "SIGKILL") : rename(from, to);
      syncBuiltinESMExports();`;
    writeFileSync(preload, death);
    const args = ["convert", "org/model", "-o", join(scratch, "dying")];
    const killed = await run(args, { cache: "dying", env: { NODE_OPTIONS: `--import=${preload}` } });
    assert.equal(killed.signal, "SIGKILL");
    assert.ok(temporaryIn("dying").length > 0);
    const snapshots = join(cache("dying"), "models--org--model/snapshots");
    assert.deepEqual(readdirSync(join(snapshots, readdirSync(snapshots)[0] ?? "")), []);
    assertOk(await run(args, { cache: "dying" }));
    assert.deepEqual(treeOf(join(scratch, "dying")), treeOf(reference));
  });

  test("of a run that is interrupted keeps what came, and gives 130", async () => {
    hub.fail(inStorage, { kind: "silence", bytes: 100_000 }, 1);
    const first = start(["convert", "org/model", "-o", join(scratch, "interrupted")], {
      cache: "interrupted",
    });
    const partial = join(cache("interrupted"), "models--org--model/blobs", `${shardSha256}.incomplete`);
    while (!existsSync(partial) || readFileSync(partial).length < 100_000)
      await new Promise((done) => setTimeout(done, 5));
    first.child.kill("SIGINT");
    assertRefused(await first.ended, 130, /interrupted by SIGINT/);
    assert.equal(readFileSync(partial).length, 100_000);
    assert.ok(!existsSync(join(scratch, "interrupted")));
  });

  test("with a beginning that is another's starts again", async () => {
    const folder = join(cache("foreign"), "models--org--model/blobs");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${shardSha256}.incomplete`), Buffer.alloc(5000, 1));
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "foreign")], { cache: "foreign" }));
    assertSound("foreign");
  });

  test("with a whole content under the name of a beginning asks for none of it", async () => {
    const folder = join(cache("whole"), "models--org--model/blobs");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${shardSha256}.incomplete`), content);
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "whole")], { cache: "whole" }));
    assert.ok(!hub.requests.some(({ url }) => inStorage.test(`GET ${url}`)));
  });

  test("of several runs at once fetches each content once", async () => {
    // The first is held up with the lock in its hand.
    hub.fail(inStorage, { kind: "silence", bytes: 65_536 }, 1);
    const options = { cache: "twins", env: { HF_HUB_DOWNLOAD_TIMEOUT: "1.5" } };
    const convertTo = (i: number) => run(["convert", "org/model", "-o", join(scratch, `twin-${i}`)], options);
    const first = convertTo(0);
    while (!hub.requests.some(({ url }) => inStorage.test(`GET ${url}`)))
      await new Promise((done) => setTimeout(done, 5));
    for (const ended of await Promise.all([first, convertTo(1), convertTo(2)])) assertOk(ended);
    const ranges = hub.requests.filter(({ url }) => inStorage.test(`GET ${url}`)).map(({ range }) => range);
    assert.deepEqual(ranges, [undefined, "bytes=65536-"]);
    assertSound("twins");
  });

  test("that was damaged after its files were checked is noticed", async () => {
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "before-damage")], { cache: "damaged" }));
    const blob = join(cache("damaged"), "models--org--model/blobs", shardSha256);
    const bytes = readFileSync(blob);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(blob, bytes);
    const ended = await run(["convert", "org/model", "-o", join(scratch, "damaged")], { cache: "damaged" });
    assertRefused(ended, 4, /in the cache has sha256 [0-9a-f]{64}, the Hub lists/);
  });

  test("whose small file was damaged gets it again", async () => {
    const options = { cache: "damaged-small" };
    const first = join(scratch, "before-small-damage");
    assertOk(await run(["convert", "org/model", "-o", first], options));
    const blobs = join(cache("damaged-small"), "models--org--model/blobs");
    const small = readdirSync(blobs).filter((name) => name.length === 40);
    assert.ok(small.length > 0);
    for (const name of small) {
      const bytes = readFileSync(join(blobs, name));
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      writeFileSync(join(blobs, name), bytes);
    }
    const again = join(scratch, "after-small-damage");
    assertOk(await run(["convert", "org/model", "-o", again], options));
    assert.deepEqual(treeOf(again), treeOf(first));
  });

  test("holds several files of the same content, linked at once", async () => {
    const same = Object.fromEntries(
      Array.from({ length: 8 }, (_, i) => [`same-${i}.json`, Buffer.from("{}")]),
    );
    hub.add("org/same", { files: { ...filesOf(source), ...same } });
    const options = { cache: "same" };
    for (const round of [1, 2, 3]) {
      rmSync(join(cache("same"), "models--org--same/snapshots"), { recursive: true, force: true });
      assertOk(await run(["convert", "org/same", "-o", join(scratch, `same-${round}`)], options));
    }
  });

  test("is never written through a link", async () => {
    const outside = join(scratch, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "file"), "mine");
    for (const folder of ["blobs", "snapshots", "refs"]) {
      const root = join(cache("linked"), "models--org--model");
      rmSync(root, { recursive: true, force: true });
      mkdirSync(root, { recursive: true });
      symlinkSync(outside, join(root, folder));
      const ended = await run(["convert", "org/model", "-o", join(scratch, "linked")], { cache: "linked" });
      assertRefused(ended, 3, /is no folder, and the cache is never written through a link/);
    }
    const blobs = join(cache("linked-file"), "models--org--model/blobs");
    mkdirSync(blobs, { recursive: true });
    symlinkSync(join(outside, "file"), join(blobs, `${shardSha256}.incomplete`));
    const ended = await run(["convert", "org/model", "-o", join(scratch, "linked")], {
      cache: "linked-file",
    });
    assertRefused(ended, 3, /cannot be written: too many symbolic links/);
    const locks = join(cache("linked-lock"), ".locks/models--org--model");
    mkdirSync(locks, { recursive: true });
    symlinkSync(join(outside, "lock"), join(locks, `${shardSha256}.lock`));
    const locked = await run(["convert", "org/model", "-o", join(scratch, "linked")], {
      cache: "linked-lock",
    });
    assertRefused(locked, 3, /\.lock" cannot be written: too many symbolic links/);
    assert.equal(readFileSync(join(outside, "file"), "utf8"), "mine");
    assert.deepEqual(readdirSync(outside), ["file"]);
  });

  for (const [call, number, code] of [
    ["write", 1, "EIO"],
    ["write", 9, "ENOSPC"],
    ["sync", 2, "EIO"],
    // The first gives a content its name, the next makes it a part of the snapshot.
    ["rename", 2, "EACCES"],
    // And the last remembers the revision.
    ["rename", 2 * Object.keys(filesOf(source)).length + 1, "EROFS"],
    ["open", 4, "EIO"],
  ] as const) {
    test(`that cannot be written (${call} ${number}, ${code}) gives 3 and is gone on with`, async () => {
      const name = `failing-${call}-${number}`;
      const args = ["convert", "org/model", "-o", join(scratch, name)];
      const preload = `--import=${join(root, "test/cli/fail-calls.mjs")}`;
      const env = { NODE_OPTIONS: preload, NESTEDFP_FAIL: `${call}:${number}:${code}` };
      const failed = await run(args, { cache: name, env });
      assertRefused(failed, 3, new RegExp(`cannot be written: .*\\(${code}\\)`));
      assert.match(failed.stderr, /\nHint: .*another cache with HF_HUB_CACHE or HF_HOME\n$/);
      assert.deepEqual(temporaryIn(name), []);
      assert.ok(!existsSync(join(scratch, name)));
      assertSound(name);
      assertOk(await run(args, { cache: name }));
      assert.deepEqual(treeOf(join(scratch, name)), treeOf(reference));
    });
  }

  test("gives a content its name only when the disk has it", async () => {
    const env = {
      NODE_OPTIONS: `--import=${join(root, "test/cli/fail-calls.mjs")}`,
      NESTEDFP_FAIL: "sync:1:EIO",
    };
    const args = ["convert", "org/model", "-o", join(scratch, "unsynced")];
    assertRefused(await run(args, { cache: "unsynced", env }), 3, /cannot be written: .*\(EIO\)/);
    const names = assertSound("unsynced");
    assert.ok(names.length > 0 && names.every((name) => name.endsWith(".incomplete")), `${names}`);
  });

  test("whose lock another process holds says so, goes on when it is free, and can be interrupted", async () => {
    const locks = join(cache("locked"), ".locks/models--org--model");
    mkdirSync(locks, { recursive: true });
    const path = join(locks, `${shardSha256}.lock`);
    const [first, second] = ["first", "second"].map((name) => [
      "convert",
      "org/model",
      "-o",
      join(scratch, name),
    ]);
    const lock = (await lockFile(path)) ?? assert.fail("nobody else has it");
    const waiting = start(first ?? [], { cache: "locked" });
    await waiting.line(/waiting/);
    const interrupted = start(second ?? [], { cache: "locked" });
    await interrupted.line(/waiting/);
    interrupted.child.kill("SIGINT");
    const { code, stderr } = await interrupted.ended;
    assert.equal(code, 130, stderr);
    const said = `Warning: waiting for another process, which holds the lock ${JSON.stringify(path)}\n`;
    assert.equal(stderr.split(said).length, 2, stderr);
    await lock.close();
    const ended = await waiting.ended;
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.stderr.split(said).length, 2, ended.stderr);
    assert.deepEqual(treeOf(join(scratch, "first")), treeOf(reference));
    assertSound("locked");
  });

  test("that cannot be made gives 3 at once", { skip: process.platform !== "linux" }, async () => {
    for (const place of ["/proc/nestedfp/cache", "/dev/null/cache"]) {
      const args = ["convert", "org/model", "-o", join(scratch, "nowhere")];
      const ended = await run(args, { env: { HF_HUB_CACHE: place } });
      assertRefused(ended, 3, /cannot be written: (no such file|not a directory)/);
    }
  });

  test("on a disk without room for what is missing gives 3 before any content is asked for", {
    skip: noMount,
  }, async (t) => {
    const total = Object.values(filesOf(source)).reduce((sum, { length }) => sum + length, 0);
    const disk = await smallDisk(t, total + 400_000);
    const env = { HF_HUB_CACHE: disk };
    const args = ["convert", "org/model", "--force", "-o", join(scratch, "roomy")];
    assertOk(await run(args, { env }));
    const blob = join(disk, "models--org--model/blobs", shardSha256);

    // What is there needs no room, nor does what there is of a beginning.
    rmSync(blob);
    assertOk(await run(args, { env }));
    rmSync(blob);
    writeFileSync(`${blob}.incomplete`, content.subarray(0, -1000));
    writeFileSync(join(disk, "other"), Buffer.alloc(350_000));
    assertOk(await run(args, { env }));

    rmSync(blob);
    writeFileSync(join(disk, "other"), Buffer.alloc(600_000));
    hub.requests.length = 0;
    const full = await run(args, { env });
    assertRefused(full, 3, /" needs 1312065 bytes, and its file system has \d+ free$/);
    assert.match(
      full.stderr,
      /\nHint: free some space or choose another cache with HF_HUB_CACHE or HF_HOME\n$/,
    );
    assert.ok(!hub.requests.some(({ url }) => inStorage.test(`GET ${url}`)));
  });

  test("on a disk that takes no more gives 3", { skip: process.platform === "win32" }, async () => {
    const ended = await run(["convert", "org/model", "-o", join(scratch, "full")], {
      cache: "full",
      shell: 'ulimit -f 64; exec "$@"',
    });
    assertRefused(ended, 3, /cannot be written: file too large \(EFBIG\)/);
    assertSound("full");
  });
});
