import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { VerifyResult } from "../../src/convert/verify.ts";
import { matrix, sha256, treeOf, writeCheckpoint, writeModel, zeros } from "../convert/checkpoints.ts";
import { sharedScratch } from "../convert/scratch.ts";
import { assertOk, assertRefused, documentOf, nestedfp, root } from "./run.ts";

const checkpoints = join(root, "fixtures/checkpoints");
const scratch = sharedScratch();
const at = (name: string): string => join(scratch.path, name);
const source = at("source");
const converted = at("converted");

after(scratch.remove);
before(async () => {
  writeModel(source);
  assertOk(await nestedfp(["convert", source, "-o", converted]));
});

describe("restore", { concurrency: 2 }, () => {
  test("gives the source back, prints the sha256 of every file, and what is not in it", async () => {
    const extra = join(checkpoints, "extra-files");
    assertOk(await nestedfp(["convert", extra, "-o", at("extra")]));
    const run = await nestedfp(["restore", at("extra"), "-o", at("extra-back")]);
    assertOk(run);
    for (const [path, hash] of Object.entries(treeOf(at("extra-back")))) {
      assert.equal(hash, sha256(readFileSync(join(extra, path))), path);
      assert.ok(run.stdout.includes(`${hash}  ${path}\n`), path);
    }
    const back = new Set(readdirSync(at("extra-back")));
    for (const path of readdirSync(extra).filter((name) => !back.has(name)))
      assert.ok(run.stdout.includes(`not in the conversion: ${path} (`), path);
  });

  test("of a conversion with loss is refused with 4", async () => {
    const lossy = join(checkpoints, "bf16-lossy");
    assertOk(await nestedfp(["convert", lossy, "-o", at("lossy"), "--bf16", "lossy"]));
    const run = await nestedfp(["restore", at("lossy"), "-o", at("lossy-back")]);
    assertRefused(run, 4, /cannot be restored: it was converted with loss/);
    assert.ok(!readdirSync(scratch.path).includes("lossy-back"));
  });

  test("into a directory that is not empty is refused with 2", async () => {
    assertRefused(await nestedfp(["restore", converted, "-o", source]), 2, /not empty/);
    assertRefused(await nestedfp(["restore", converted, "-o", converted]), 2, /overlap/);
  });
});

describe("export --to fp8-only", { concurrency: 2 }, () => {
  const view = at("view");
  before(async () => assertOk(await nestedfp(["export", converted, "--to", "fp8-only", "-o", view])));

  test("gives neither the source nor FP16 back, and the hint says why", async () => {
    for (const args of [["restore"], ["export", "--to", "fp16"]]) {
      const run = await nestedfp([...args, view, "-o", at("from-view")]);
      assertRefused(run, 4, /has no "nestedfp\/lower-00001-of-00003\.nfp"/);
      assert.match(run.stderr, /Hint: an FP8-only export lacks these files/);
    }
  });

  test("is the root without the lower files, and passes verify --fp8-only at every level", async () => {
    const lower = (path: string): boolean => path.endsWith(".nfp");
    const files = Object.entries(treeOf(converted)).filter(([path]) => !lower(path));
    const sums = "nestedfp/SHA256SUMS";
    const { [sums]: written, ...rest } = treeOf(view);
    assert.deepEqual(rest, Object.fromEntries(files.filter(([path]) => path !== sums)));
    const lines = (directory: string): string[] => readFileSync(join(directory, sums), "utf8").split("\n");
    assert.deepEqual(
      lines(view),
      lines(converted).filter((line) => !lower(line)),
    );
    assert.ok(written);
    for (const level of ["--quick", "--deep"])
      assertOk(await nestedfp(["verify", view, "--fp8-only", level]));
    const without = documentOf<VerifyResult>(await nestedfp(["verify", view, "--json"]));
    assert.deepEqual(new Set(without.result.problems.map(({ kind }) => kind)), new Set(["missing", "sums"]));
  });

  test("of a directory of links, as the hub's cache has them, holds files", async () => {
    const [cache, linked] = [at("cache"), at("cache/snapshot")];
    for (const folder of ["cache/blobs", "cache/snapshot/nestedfp/source"])
      mkdirSync(at(folder), { recursive: true });
    for (const [path, hash] of Object.entries(treeOf(converted))) {
      const depth = "../".repeat(path.split("/").length);
      writeFileSync(join(cache, "blobs", hash), readFileSync(join(converted, path)));
      symlinkSync(`${depth}blobs/${hash}`, join(linked, path));
    }
    assertOk(await nestedfp(["verify", linked]));
    assertOk(await nestedfp(["export", linked, "--to", "fp8-only", "-o", at("unlinked")]));
    rmSync(cache, { recursive: true });
    assert.deepEqual(treeOf(at("unlinked")), treeOf(view));
  });

  test("of a directory that lacks a file is refused with 4", async () => {
    const broken = at("broken");
    assertOk(await nestedfp(["convert", source, "-o", broken]));
    rmSync(join(broken, "tokenizer.json"));
    const run = await nestedfp(["export", broken, "--to", "fp8-only", "-o", at("broken-view")]);
    assertRefused(run, 4, /tokenizer\.json" cannot be read: no such file/);
  });
});

describe("export --to fp16", { concurrency: 2 }, () => {
  test("holds the weights that the kernels see, as an ordinary checkpoint", async () => {
    const half = at("half");
    assertOk(await nestedfp(["export", converted, "--to", "fp16", "-o", half]));
    const config = JSON.parse(readFileSync(join(half, "config.json"), "utf8"));
    assert.deepEqual(config, { model_type: "llama", dtype: "float16" });
    const index = JSON.parse(readFileSync(join(half, "model.safetensors.index.json"), "utf8"));
    const names = Object.keys(treeOf(half));
    assert.deepEqual(names, Object.keys(treeOf(source)));
    for (const [name, file] of Object.entries<string>(index.weight_map)) {
      const [from, to] = [readTensor(join(source, file), name), readTensor(join(half, file), name)];
      assert.equal(to.dtype, "F16", name);
      assert.deepEqual(to.shape, from.shape, name);
      compareWithSource(name, from, to.words);
    }
    assert.ok(!names.includes("nestedfp/manifest.json"));
    assertOk(await nestedfp(["inspect", half]));
  });

  test("is refused with 4 where a kept BF16 value is beyond 65504", async () => {
    const large = writeCheckpoint(at("large"), {
      "model.safetensors": [
        matrix("model.embed_tokens.weight", "BF16", [[0x3f80, 0x4780]]),
        zeros("a", "F16", [1]),
      ],
    });
    assertOk(await nestedfp(["convert", large, "-o", at("large-converted")]));
    const run = await nestedfp(["export", at("large-converted"), "--to", "fp16", "-o", at("large-half")]);
    assertRefused(run, 4, /"model\.embed_tokens\.weight" has a BF16 value beyond FP16's largest, 65504/);
    assert.ok(!readdirSync(scratch.path).includes("large-half"));
  });
});

type Stored = { readonly dtype: string; readonly shape: readonly number[]; readonly words: Uint16Array };

function readTensor(path: string, name: string): Stored {
  const file = readFileSync(path);
  const headerBytes = 8 + Number(file.readBigUInt64LE());
  const { dtype, shape, data_offsets } = JSON.parse(file.toString("utf8", 8, headerBytes))[name];
  const bytes = file.subarray(headerBytes + data_offsets[0], headerBytes + data_offsets[1]);
  return { dtype, shape, words: new Uint16Array(Uint8Array.from(bytes).buffer) };
}

/**
 * Every exported word is the source value, or one of the two binary16 values beside it at most half a step away,
 * where a step is that of the row: 2^-24, or 2^(s-24) in a row that exceeds 1.875.
 */
function compareWithSource(name: string, source: Stored, exported: Uint16Array): void {
  const columns = source.shape.at(-1) ?? 1;
  for (let row = 0; row * columns < exported.length; row++) {
    const values = Array.from(source.words.subarray(row * columns, (row + 1) * columns), (word) =>
      source.dtype === "BF16" ? bf16Value(word) : halfValue(word),
    );
    const largest = Math.max(...values.map(Math.abs));
    const shift = Math.max(0, Math.ceil(Math.log2(largest / 1.875)));
    for (const [i, value] of values.entries()) {
      const got = halfValue(exported[row * columns + i] ?? 0);
      const step = Math.max(2 ** (shift - 24), 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10));
      assert.ok(Math.abs(got - value) <= step / 2, `${name} [${row}, ${i}]: ${got}, the source has ${value}`);
      assert.ok(Object.is(Math.sign(got), Math.sign(value)) || got === 0, `${name} [${row}, ${i}]: sign`);
    }
  }
}

function bf16Value(word: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint16(0, word);
  return view.getFloat32(0);
}

function halfValue(word: number): number {
  const [exponent, mantissa] = [(word >> 10) & 0x1f, word & 0x3ff];
  const magnitude = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  return word & 0x8000 ? -magnitude : magnitude;
}

test("an export shares files with the conversion and, done again, does not change it", async () => {
  const view = at("linked-view");
  assertOk(await nestedfp(["export", converted, "--to", "fp8-only", "-o", view]));
  const upper = "model-00001-of-00003.safetensors";
  assert.equal(statSync(join(view, upper)).ino, statSync(join(converted, upper)).ino);
  const before = treeOf(converted);
  assertOk(await nestedfp(["export", converted, "--to", "fp8-only", "-o", view, "--force"]));
  assert.deepEqual(treeOf(converted), before);
});
