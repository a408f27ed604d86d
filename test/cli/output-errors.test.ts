import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { scratchDirectory, sharedScratch } from "../convert/scratch.ts";
import { assertOk, assertRefused, nestedfp, root } from "./run.ts";
import { noMount, smallDisk } from "./small-disk.ts";

const scratch = sharedScratch();
const source = join(scratch.path, "source");
const converted = join(scratch.path, "converted");

after(scratch.remove);
before(async () => {
  writeModel(source, { width: 64 });
  // Not among the bytes that a run asks for before it begins: these are of the shards.
  writeFileSync(join(source, "vocab.txt"), Buffer.alloc(2 ** 20, "word\n"));
  assertOk(await nestedfp(["convert", source, "-o", converted]));
});

const noPermission = withoutOverride();
const noDrop = "skipped: root may write everywhere, and setpriv cannot take that away";

/** A shell command that obeys permissions, also for root; undefined where root cannot give up the right to ignore them. */
function withoutOverride(): string | undefined {
  if (process.getuid?.() !== 0) return 'exec "$@"';
  const drop = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all";
  return spawnSync("sh", ["-c", `${drop} true`]).status === 0 ? `exec ${drop} "$@"` : undefined;
}

const commands: readonly (readonly [name: string, args: readonly string[]])[] = [
  ["convert", ["convert", source]],
  ["restore", ["restore", converted]],
  ["export", ["export", converted, "--to", "fp16"]],
];

describe("a disk that is full gives 3:", { skip: noMount }, () => {
  for (const [name, args] of commands.slice(0, 2)) {
    test(`${name} that cannot fit writes nothing`, async (t) => {
      const disk = await smallDisk(t, 128 * 1024);
      const run = await nestedfp([...args, "-o", join(disk, "out"), "--json"]);
      assertRefused(run, 3, /"[^"]*out" needs \d+ bytes, and its file system has \d+ free/);
      assert.deepEqual(readdirSync(disk), []);
    });
  }

  test("convert that runs out of space half way can be resumed", async (t) => {
    const shards = execFileSync("du", ["-cb", ...shardFiles()], { encoding: "utf8" });
    const disk = await smallDisk(t, Number(/(\d+)\ttotal/.exec(shards)?.[1]) + 512 * 1024);
    const out = join(disk, "out");
    const run = await nestedfp(["convert", source, "-o", out]);
    assertRefused(run, 3, /cannot be written: no space left on device \(ENOSPC\)/);
    for (const [path, hash] of Object.entries(treeOf(out))) {
      if (!path.startsWith(".nestedfp/")) assert.equal(hash, treeOf(converted)[path], path);
    }
    assert.ok(!readdirSync(join(out, ".nestedfp")).some((name) => name.endsWith(".tmp")));
    execFileSync("mount", ["-o", "remount,size=64m", disk]);
    assertOk(await nestedfp(["convert", source, "-o", out, "--resume"]));
    assert.deepEqual(treeOf(out), treeOf(converted));
  });
});

function shardFiles(): string[] {
  return Object.keys(treeOf(converted))
    .filter((path) => /\.(safetensors|nfp)$/.test(path))
    .map((path) => join(converted, path));
}

describe("a limit on the size of files gives 3:", { skip: process.platform === "win32" }, () => {
  for (const [name, args] of commands) {
    test(name, async (t) => {
      const out = join(await scratchDirectory(t), "out");
      // Blocks of 512 bytes (dash) or of 1024 (bash).
      const run = await nestedfp([...args, "-o", out], { shell: 'ulimit -f 64; exec "$@"' });
      assertRefused(run, 3, /cannot be written: file too large \(EFBIG\)/);
      assert.ok(!existsSync(out) || !Object.keys(treeOf(out)).some((path) => path.endsWith(".tmp")));
    });
  }
});

test("eval whose cache cannot grow goes on, and says so", {
  skip: process.platform === "win32",
}, async (t) => {
  const [model = "", text = ""] = ["tiny-llama", "text/overlay.txt"].map((name) =>
    join(root, "fixtures", name),
  );
  const run = await nestedfp(
    ["eval", model, "--text", text, "--precision", "fp16,fp8", "--ctx", "32", "--per-token"],
    { env: { XDG_CACHE_HOME: await scratchDirectory(t) }, shell: 'ulimit -f 4; exec "$@"' },
  );
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stderr, /^Warning: from here on this run cannot be resumed: .*EFBIG/m);
  assert.equal(run.stderr.match(/Warning/g)?.length, 1);
});

describe("a cache directory that cannot be made", { skip: process.platform !== "linux" }, () => {
  const env = { XDG_CACHE_HOME: "/proc/nowhere" };
  const model = join(root, "fixtures/tiny-llama");
  const problem = /"\/proc\/nowhere\/nestedfp[^"]*" cannot be written: no such file or directory \(ENOENT\)/;
  const evaluation = ["eval", model, "--text", join(root, "fixtures/text/overlay.txt"), "--limit", "1"];

  test("costs an evaluation no more than its --resume", async () => {
    const run = await nestedfp([...evaluation, "--precision", "fp16", "--ctx", "32"], { env });
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /fp16: Final estimate: PPL = /);
    assert.match(run.stderr, /^Warning: this run cannot be resumed: /m);
    assert.match(run.stderr, problem);
    const refused = await nestedfp([...evaluation, "--resume"], { env });
    assertRefused(refused, 3, problem);
    assert.match(refused.stderr, /^Hint: the cache directory /m);
  });

  test("ends bench --tune before anything is timed", async () => {
    const run = await nestedfp(["bench", "--shapes", "32,32", "-m", "1", "--device", "cpu", "--tune"], {
      env,
    });
    assertRefused(run, 3, problem);
  });
});

test("bench --tune whose table cannot be kept prints what it measured, and gives 3", {
  skip: process.platform === "win32",
}, async (t) => {
  const cache = await scratchDirectory(t);
  mkdirSync(join(cache, "nestedfp"));
  // What the user has is more than the limit lets be written again.
  const entries = Array.from({ length: 50 }, (_, i) => ({
    kernel: "fp16",
    n: 1,
    k: i + 1,
    m: 1,
    config: "x",
    us: 1,
  }));
  const devices = { Other: { driver: null, entries } };
  writeFileSync(join(cache, "nestedfp/tune.json"), JSON.stringify({ schema: "nestedfp.tune/1", devices }));
  const shape = ["--shapes", "32,32", "-m", "1", "--kernels", "fp16", "--min-samples", "2", "--timeout", "1"];
  const run = await nestedfp(["bench", ...shape, "--device", "cpu", "--tune"], {
    env: { XDG_CACHE_HOME: cache },
    shell: 'ulimit -f 2; exec "$@"',
  });
  assert.equal(run.code, 3, run.stderr);
  assert.match(run.stdout, /fp16/);
  assert.match(run.stderr, /^--tune is not remembered: .*EFBIG/m);
});

describe("a target that must not be written gives 3:", { concurrency: 2 }, () => {
  for (const [name, args] of commands) {
    test(`a read-only file system, ${name}`, { skip: noMount }, async (t) => {
      const disk = await smallDisk(t, 2 ** 24, "ro");
      const run = await nestedfp([...args, "-o", join(disk, "out"), "--json"]);
      assertRefused(run, 3, /cannot be written: read-only file system \(EROFS\)/);
    });

    test(`a directory without permission, ${name}`, {
      skip: noPermission === undefined && noDrop,
    }, async (t) => {
      const parent = join(await scratchDirectory(t), "parent");
      mkdirSync(parent);
      chmodSync(parent, 0o555);
      const shell = noPermission ?? "";
      const run = await nestedfp([...args, "-o", join(parent, "out"), "--json"], { shell });
      chmodSync(parent, 0o755);
      assertRefused(run, 3, /cannot be written: permission denied \(EACCES\)/);
      assert.deepEqual(readdirSync(parent), []);
    });
  }

  test("a folder below a file", async (t) => {
    const file = join(await scratchDirectory(t), "file");
    writeFileSync(file, "");
    const run = await nestedfp(["convert", source, "-o", join(file, "out")]);
    assertRefused(run, 3, /cannot be written: not a directory \(ENOTDIR\)/);
  });

  test("a report on a read-only file system, before the work", { skip: noMount }, async (t) => {
    const disk = await smallDisk(t, 2 ** 24, "ro");
    const out = join(scratch.path, "not-begun");
    const run = await nestedfp(["convert", source, "-o", out, "--report", join(disk, "r.json"), "--json"]);
    assertRefused(run, 3, /r\.json" cannot be written: read-only file system \(EROFS\)/);
    assert.ok(!existsSync(out));
  });
});

describe("a report that cannot be written gives 2 before the work:", { concurrency: 2 }, () => {
  const out = join(scratch.path, "unbegun");
  const reports: readonly (readonly string[])[] = [
    ["convert", source, "-o", out, "--report"],
    ["verify", converted, "-o"],
    ["inspect", source, "-o"],
    ["eval", source, "--text", join(source, "vocab.txt"), "-o"],
  ];
  for (const args of reports) {
    test(args[0] ?? "", async (t) => {
      const run = await nestedfp([...args, join(scratch.path, "nowhere/r.json"), "--json"]);
      assertRefused(run, 2, /nowhere\/r\.json" cannot be written: ".*nowhere" is no directory/);
      const folder = join(await scratchDirectory(t), "r.json");
      mkdirSync(folder);
      assertRefused(await nestedfp([...args, folder]), 2, /r\.json" is a directory, not a file/);
      assert.ok(!existsSync(out));
    });
  }

  test("but a conversion's may go into the directory that it makes", async (t) => {
    const made = join(await scratchDirectory(t), "made");
    assertOk(await nestedfp(["convert", source, "-o", made, "--report", join(made, "r.json")]));
    assert.ok(existsSync(join(made, "r.json")));
  });
});

describe("standard output", { skip: process.platform !== "linux" }, () => {
  test("that is full gives 3 and no stack", async () => {
    const run = await nestedfp(["inspect", converted], { shell: '"$@" > /dev/full' });
    assertRefused(run, 3, /"standard output" cannot be written: no space left on device/);
    assert.match(run.stderr, /^Hint: .*stdout/m);
  });

  test("that nobody reads to its end is no error", async () => {
    const run = await nestedfp(["inspect", converted, "--json"], { shell: '"$@" | true' });
    assert.deepEqual([run.code, run.stderr], [0, ""]);
  });
});
