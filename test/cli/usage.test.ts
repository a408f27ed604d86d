import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { scratchDirectory } from "../convert/scratch.ts";
import { assertOk, assertRefused, nestedfp, root } from "./run.ts";

const source = join(root, "fixtures/checkpoints/f16-plain");

const wrongCalls: readonly (readonly [why: string, args: readonly string[], sentence: RegExp])[] = [
  ["an unknown option", ["convert", source, "-o", "out", "--frob"], /unknown option '--frob'/],
  [
    "an unknown option's value",
    ["convert", source, "--tokn=hf_x'y"],
    /^Error: unknown option '--tokn=\.\.\.'$/,
  ],
  ["an option with escapes", ["convert", source, "--\u001b[31m"], /^Error: unknown option '--\\u001b\[31m'$/],
  ["an unknown command", ["frobnicate", source], /unknown command 'frobnicate'/],
  ["no source", ["convert"], /missing required argument 'src'/],
  ["two sources", ["convert", source, source, "-o", "out"], /too many arguments/],
  ["convert without -o", ["convert", source], /convert needs -o DIR/],
  ["convert without -o, with --json", ["convert", source, "--json"], /convert needs -o DIR/],
  ["restore without -o", ["restore", source], /required option '-o, --output <dir>'/],
  ["export without --to", ["export", source, "-o", "out"], /required option '--to <view>'/],
  ["export to an unknown view", ["export", source, "--to", "fp9", "-o", "out"], /'fp9' is invalid/],
  [
    "--resume and --force",
    ["convert", source, "-o", "out", "--resume", "--force"],
    /--resume and --force exclude each other/,
  ],
  ["--quick and --deep", ["verify", source, "--quick", "--deep"], /--quick and --deep exclude each other/],
  ["an unknown --verify", ["convert", source, "-o", "out", "--verify", "half"], /"half", not none or full/],
  ["an unknown --bf16", ["convert", source, "-o", "out", "--bf16", "round"], /'round' is invalid/],
  ["no threads", ["convert", source, "-o", "out", "--threads", "0"], /from 1 to 1024/],
  ["threads that are no number", ["convert", source, "-o", "out", "--threads", "1e1"], /from 1 to 1024/],
  ["too little memory", ["convert", source, "-o", "out", "--max-memory", "1M"], /below the least possible/],
  ["no size", ["convert", source, "-o", "out", "--max-memory", "much"], /number of bytes/],
  ["patches above all words", ["inspect", source, "--max-patches", "101%"], /a share from 0 to 1/],
  ["a pattern without a match", ["inspect", source, "--exclude", "nosuch*"], /"nosuch\*" matches none/],
  ["a broken pattern", ["inspect", source, "--exclude", "re:("], /is not a regular expression/],
  ["an embedding to split", ["inspect", source, "--include", "*embed*"], /never split/],
  ["a report without a format", ["inspect", source, "-o", "table.pdf"], /"\.pdf", which is no report format/],
  ["a progress that does not exist", ["inspect", source, "--progress", "loud"], /'loud' is invalid/],
];

describe("a wrong call is refused with 2 and writes nothing:", { concurrency: 2 }, () => {
  for (const [why, args, sentence] of wrongCalls) {
    test(why, async (t) => {
      const cwd = await scratchDirectory(t);
      assertRefused(await nestedfp(args, { cwd }), 2, sentence);
      assert.deepEqual(readdirSync(cwd), []);
    });
  }
});

describe("a target that is in the way is refused with 2 and left alone:", { concurrency: 2 }, () => {
  test("a directory that is not empty", async (t) => {
    const out = await scratchDirectory(t);
    writeFileSync(join(out, "notes.txt"), "mine");
    assertRefused(await nestedfp(["convert", source, "-o", out]), 2, /not empty \(it holds "notes\.txt"\)/);
    assertRefused(await nestedfp(["convert", source, "-o", out, "--resume"]), 2, /no conversion to resume/);
    assert.deepEqual(readdirSync(out), ["notes.txt"]);
  });

  test("foreign weights, also under --force", async (t) => {
    const out = await scratchDirectory(t);
    writeFileSync(join(out, "model-00001-of-00002.safetensors"), "mine");
    const run = await nestedfp(["convert", source, "-o", out, "--force"]);
    assertRefused(run, 2, /holds "model-00001-of-00002\.safetensors", which nestedfp did not write/);
    assert.deepEqual(readdirSync(out), ["model-00001-of-00002.safetensors"]);
  });

  test("a file", async (t) => {
    const out = join(await scratchDirectory(t), "file");
    writeFileSync(out, "mine");
    assertRefused(await nestedfp(["convert", source, "-o", out]), 2, /is a file, not a directory/);
  });

  test("the source, a folder in it, and a folder around it", async (t) => {
    const scratch = await scratchDirectory(t);
    symlinkSync(source, join(scratch, "link"));
    for (const out of [source, join(source, "out"), join(source, ".."), join(scratch, "link")]) {
      assertRefused(await nestedfp(["convert", source, "-o", out]), 2, /overlap/);
    }
    assert.ok(!existsSync(join(source, "out")));
  });

  test("folders that are links", async (t) => {
    const scratch = await scratchDirectory(t);
    for (const folder of ["nestedfp", ".nestedfp"]) {
      const [out, elsewhere] = [join(scratch, `out-${folder}`), join(scratch, `elsewhere-${folder}`)];
      for (const path of [out, elsewhere]) mkdirSync(path);
      symlinkSync(elsewhere, join(out, folder));
      assertRefused(await nestedfp(["convert", source, "-o", out, "--force"]), 2, /is a symbolic link/);
      assert.deepEqual(readdirSync(elsewhere), []);
    }
  });
});

test("--help and --version print on stdout and exit with 0", async () => {
  for (const args of [["--help"], ["convert", "--help"], ["help", "verify"]]) {
    const run = await nestedfp(args);
    assertOk(run);
    assert.match(run.stdout, /^Usage: nestedfp/);
  }
  const version = await nestedfp(["--version"]);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test("without a command the help is shown on stderr, with 2", async () => {
  const run = await nestedfp([]);
  assert.equal(run.code, 2);
  assert.equal(run.stdout, "");
  assert.match(run.stderr, /^Usage: nestedfp/);
});
