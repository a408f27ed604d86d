import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { writeCheckpoint, zeros } from "../convert/checkpoints.ts";
import { scratchDirectory } from "../convert/scratch.ts";
import { assertOk, assertRefused, nestedfp, root } from "./run.ts";

const malformed = join(root, "fixtures/malformed");
const checkpoints = join(root, "fixtures/checkpoints");

/** Runs convert, with --json, and inspect on a source that both must refuse with 4, without a trace. */
async function assertBadInput(source: string, sentence: RegExp): Promise<void> {
  const before = readdirSync(join(source, "..")).sort();
  const output = join(source, "../out-of-bad-input");
  assertRefused(await nestedfp(["convert", source, "-o", output, "--json"]), 4, sentence);
  assertRefused(await nestedfp(["inspect", source]), 4, sentence);
  assert.deepEqual(readdirSync(join(source, "..")).sort(), before);
}

// One of each kind; test/convert/malformed.test.ts has them all, in one process.
const someMalformed: readonly (readonly [name: string, sentence: RegExp])[] = [
  ["001-empty.safetensors", /the file is empty/],
  ["005-header-above-limit.safetensors", /header length 100000001 exceeds the limit/],
  ["008-lfs-pointer.safetensors", /exceeds the limit/],
  ["037-duplicate-tensor.safetensors", /duplicate key "a"/],
  ["048-deep.safetensors", /is object, not a string/],
  ["085-unknown-dtype.safetensors", /unknown dtype/],
  ["099-terminal-escape.safetensors", /\\u001b/],
  ["120-overlap.safetensors", /overlap/],
  ["122-hole.safetensors", /hole/],
  ["125-truncated.safetensors", /the file holds/],
  ["200-index-parent", /holds a path separator/],
  ["230-index-deep", /nest/],
  ["240-shard-missing", /does not exist/],
  ["243-wrong-shard", /but the index puts it in/],
  ["262-nothing", /holds no safetensors/],
];

describe("malformed checkpoints, by the binary:", { concurrency: 2 }, () => {
  for (const [name, sentence] of someMalformed) {
    test(name, () => assertBadInput(join(malformed, name), sentence));
  }
});

describe("fixtures that are refused, by the binary:", { concurrency: 2 }, () => {
  for (const file of readdirSync(checkpoints).filter((name) => /^refused-.*\.expected\.json$/.test(name))) {
    const { source, error } = JSON.parse(readFileSync(join(checkpoints, file), "utf8"));
    const name = file.slice(0, -".expected.json".length);
    test(name, async (t) => {
      const out = join(await scratchDirectory(t), "out");
      const run = await nestedfp(["convert", join(checkpoints, name, source), "-o", out, "--json"]);
      assertRefused(run, 4, new RegExp(error.replace("(?i)", ""), "i"));
      assert.match(run.stderr, /^Hint: /m, "the advice");
    });
  }
});

describe("what cannot be read:", { concurrency: 2 }, () => {
  test("a source that does not exist", async (t) => {
    await assertBadInput(join(await scratchDirectory(t), "nowhere"), /"[^"]*nowhere" not found/);
  });

  test("a truncated shard of a good checkpoint", async (t) => {
    const source = join(await scratchDirectory(t), "source");
    cpSync(join(checkpoints, "f16-plain"), source, { recursive: true });
    truncateSync(
      join(source, "model.safetensors"),
      readFileSync(join(source, "model.safetensors")).length - 1,
    );
    await assertBadInput(source, /the tensors take \d+ bytes of data, but the file holds \d+/);
  });

  test("a directory, a FIFO and a dangling link in place of the weights", async (t) => {
    const scratch = await scratchDirectory(t);
    const source = (name: string, make: (path: string) => void): string => {
      mkdirSync(join(scratch, name));
      writeFileSync(join(scratch, name, "config.json"), "{}");
      make(join(scratch, name, "model.safetensors"));
      return join(scratch, name);
    };
    await assertBadInput(source("folder", mkdirSync), /is a directory, not a regular file/);
    await assertBadInput(
      source("link", (path) => symlinkSync("nowhere", path)),
      /cannot be read: no such file/,
    );
    if (process.platform === "win32") return;
    await assertBadInput(
      source("fifo", (path) => execFileSync("mkfifo", [path])),
      /is a FIFO, not a regular file/,
    );
  });

  const isRoot = process.getuid?.() === 0;
  test("a file without permission", { skip: isRoot && "skipped: root may read everything" }, async (t) => {
    const source = writeCheckpoint(join(await scratchDirectory(t), "source"), {
      "model.safetensors": [zeros("a", "F16", [2])],
    });
    chmodSync(join(source, "model.safetensors"), 0);
    await assertBadInput(source, /cannot be read: permission denied/);
  });

  test("a file without tensors", async (t) => {
    const scratch = await scratchDirectory(t);
    const source = writeCheckpoint(join(scratch, "source"), { "model.safetensors": [] });
    assertRefused(await nestedfp(["convert", source, "-o", join(scratch, "out")]), 4, /holds no tensors/);
    assert.deepEqual(readdirSync(scratch), ["source"]);
  });

  test("a config.json that is missing, broken or no object", async (t) => {
    const source = writeCheckpoint(join(await scratchDirectory(t), "source"), {
      "model.safetensors": [zeros("a", "F16", [2])],
    });
    const out = join(source, "../out");
    for (const [text, sentence] of [
      ['{"a": 1,}', /config\.json/],
      ['{"a": 1, "a": 2}', /duplicate key "a"/],
      ["[]", /is not a JSON object/],
      ["\ufeff{}", /config\.json/],
    ] as const) {
      writeFileSync(join(source, "config.json"), text);
      assertRefused(await nestedfp(["convert", source, "-o", out]), 4, sentence);
      assertOk(await nestedfp(["inspect", source]));
    }
  });
});

describe("what is not bad:", { concurrency: 2 }, () => {
  test("empty tensors and scalars", async (t) => {
    const scratch = await scratchDirectory(t);
    for (const [name, tensors] of [
      [
        "empty",
        [zeros("model.layers.0.mlp.up_proj.weight", "BF16", [0, 16]), zeros("a.weight", "F16", [16, 0])],
      ],
      ["scalars", [zeros("scale", "F32", []), zeros("b", "F64", [])]],
    ] as const) {
      const source = writeCheckpoint(join(scratch, name), { "model.safetensors": tensors });
      const [out, back] = [join(scratch, `${name}-out`), join(scratch, `${name}-back`)];
      assertOk(await nestedfp(["convert", source, "-o", out]));
      assertOk(await nestedfp(["verify", "--deep", out, "--against", source]));
      assertOk(await nestedfp(["restore", out, "-o", back]));
      assert.deepEqual(
        readFileSync(join(back, "model.safetensors")),
        readFileSync(join(source, "model.safetensors")),
      );
    }
  });

  test("file names that a shell, a terminal or sha256sum must escape", async (t) => {
    const scratch = await scratchDirectory(t);
    const source = writeCheckpoint(join(scratch, "source"), {
      "model.safetensors": [zeros("model.layers.0.mlp.down_proj.weight", "F16", [16, 16])],
    });
    const odd = ["a\\b.txt", "new\nline.txt", " blank ", "'quote\".txt", "\u001b[31mred.txt", "__proto__"];
    for (const name of odd) writeFileSync(join(source, name), name);
    const [out, back] = [join(scratch, "out"), join(scratch, "back")];
    assertOk(await nestedfp(["convert", source, "-o", out]));
    assertOk(await nestedfp(["verify", "--deep", out, "--against", source]));
    execFileSync("sha256sum", ["--check", "--quiet", "--strict", "nestedfp/SHA256SUMS"], { cwd: out });
    const restored = await nestedfp(["restore", out, "-o", back]);
    assertOk(restored);
    assert.ok(!restored.stdout.includes("\u001b"));
    for (const name of odd) assert.equal(readFileSync(join(back, name), "utf8"), name);
  });
});
