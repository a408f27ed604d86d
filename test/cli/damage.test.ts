import assert from "node:assert/strict";
import {
  appendFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Manifest } from "../../src/convert/manifest.ts";
import type { VerifyResult } from "../../src/convert/verify.ts";
import { decoderLayer, writeCheckpoint, writeModel } from "../convert/checkpoints.ts";
import { sharedScratch } from "../convert/scratch.ts";
import { Prng } from "../safetensors/prng.ts";
import { assertOk, assertRefused, documentOf, nestedfp } from "./run.ts";

const scratch = sharedScratch();
const whole = join(scratch.path, "whole");
const upper1 = "model-00001-of-00003.safetensors";
const lower1 = "nestedfp/lower-00001-of-00003.nfp";
const victim = "model.layers.0.self_attn.o_proj.weight";

after(scratch.remove);
before(async () => {
  const source = writeModel(join(scratch.path, "source"));
  assertOk(await nestedfp(["convert", source, "-o", whole]));
});

/** Where a tensor lies in a file of the undamaged directory. */
function rangeOf(file: string, tensor: string): readonly [number, number] {
  const bytes = readFileSync(join(whole, file));
  const headerBytes = 8 + Number(bytes.readBigUInt64LE());
  const [begin, end] = JSON.parse(bytes.toString("utf8", 8, headerBytes))[tensor].data_offsets;
  return [headerBytes + begin, headerBytes + end];
}

function changeBytes(path: string, at: number, change: (byte: number) => number): void {
  const bytes = readFileSync(path);
  bytes[at] = change(bytes[at] ?? 0);
  writeFileSync(path, bytes);
}

/** Flips a bit near the start of a tensor, in a word without a patch, and one that the word depends on. */
const flipIn =
  (file: string, tensor: string) =>
  (directory: string): void => {
    changeBytes(join(directory, file), rangeOf(file, tensor)[0] + 9, (byte) => byte ^ 4);
  };

/** Replaces text in a file by other text of the same length. */
const replaceIn =
  (file: string, from: string, to: string) =>
  (directory: string): void => {
    const path = join(directory, file);
    const text = readFileSync(path, "latin1");
    assert.ok(text.includes(from) && from.length === to.length);
    writeFileSync(path, text.replace(from, to), "latin1");
  };

type Damage = {
  readonly do: (directory: string) => void;
  /** What a problem must say: file, kind, and the tensor where one is hit. */
  readonly expect: { readonly file: string; readonly kind: string; readonly tensor?: string };
  /** `--quick` does not see it. */
  readonly notQuick?: true;
  /** Exit code of restore; 0 where it does not need what is damaged. */
  readonly restore: 0 | 1 | 4;
};

const damages: Readonly<Record<string, Damage>> = {
  "a bit of an upper plane": {
    do: flipIn(upper1, victim),
    expect: { file: upper1, kind: "sha256", tensor: victim },
    notQuick: true,
    restore: 1,
  },
  "a bit of a lower plane": {
    do: flipIn(lower1, `${victim}_lower`),
    expect: { file: lower1, kind: "sha256", tensor: `${victim}_lower` },
    notQuick: true,
    restore: 1,
  },
  "a bit of a scale": {
    do: flipIn(upper1, `${victim}_scale`),
    expect: { file: upper1, kind: "sha256", tensor: `${victim}_scale` },
    notQuick: true,
    restore: 4,
  },
  "a scale doubled": {
    do: (directory) =>
      changeBytes(join(directory, upper1), rangeOf(upper1, `${victim}_scale`)[0] + 3, () => 0x3c),
    expect: { file: upper1, kind: "sha256", tensor: `${victim}_scale` },
    notQuick: true,
    restore: 1,
  },
  "a patch position": {
    do: (directory) =>
      changeBytes(join(directory, lower1), rangeOf(lower1, `${victim}_patch_index`)[0] + 3, () => 0xff),
    expect: { file: lower1, kind: "sha256", tensor: `${victim}_patch_index` },
    notQuick: true,
    restore: 4,
  },
  "a patch value": {
    do: flipIn(lower1, `${victim}_patch_value`),
    expect: { file: lower1, kind: "sha256", tensor: `${victim}_patch_value` },
    notQuick: true,
    restore: 1,
  },
  "a bit of a tensor that is not split": {
    do: flipIn(upper1, "model.layers.0.input_layernorm.weight"),
    expect: { file: upper1, kind: "sha256", tensor: "model.layers.0.input_layernorm.weight" },
    notQuick: true,
    restore: 1,
  },
  "the stored source header": {
    do: (directory) =>
      changeBytes(join(directory, lower1), rangeOf(lower1, "__nestedfp__.source_header")[0] + 8, () => 0x5b),
    expect: { file: lower1, kind: "sha256" },
    notQuick: true,
    restore: 4,
  },
  "the dtype of a lower plane": {
    do: replaceIn(lower1, `"${victim}_lower":{"dtype":"U8"`, `"${victim}_lower":{"dtype":"I8"`),
    expect: { file: lower1, kind: "header", tensor: `${victim}_lower` },
    restore: 4,
  },
  "the dtype of a patch list": {
    do: replaceIn(lower1, `"${victim}_patch_index":{"dtype":"U32"`, `"${victim}_patch_index":{"dtype":"F32"`),
    expect: { file: lower1, kind: "header", tensor: `${victim}_patch_index` },
    restore: 4,
  },
  "a dtype in a header": {
    do: replaceIn(lower1, '"U8"', '"I8"'),
    expect: { file: lower1, kind: "header", tensor: "__nestedfp__.source_header" },
    restore: 4,
  },
  "a dtype of other size in a header": {
    do: replaceIn(lower1, `"${victim}_patch_value":{"dtype":"U16"`, `"${victim}_patch_value":{"dtype":"I64"`),
    expect: { file: lower1, kind: "header" },
    restore: 4,
  },
  "a name in a header": {
    do: replaceIn(
      upper1,
      '"model.layers.0.self_attn.o_proj.weight"',
      '"model.layers.0.self_attn.o_prox.weight"',
    ),
    expect: { file: upper1, kind: "header", tensor: "model.layers.0.self_attn.o_prox.weight" },
    restore: 4,
  },
  "the length of a header": {
    do: (directory) => changeBytes(join(directory, upper1), 7, () => 1),
    expect: { file: upper1, kind: "header" },
    restore: 4,
  },
  "an entry of ignore, renamed": {
    do: replaceIn("config.json", '"lm_head"', '"lm_hood"'),
    expect: { file: "config.json", kind: "config" },
    restore: 0,
  },
  "an entry of ignore, removed": {
    do: (directory) => {
      const path = join(directory, "config.json");
      const config = JSON.parse(readFileSync(path, "utf8"));
      config.quantization_config.ignore.pop();
      writeFileSync(path, JSON.stringify(config));
    },
    expect: { file: "config.json", kind: "size" },
    restore: 0,
  },
  "an entry of the index": {
    do: replaceIn(
      "model.safetensors.index.json",
      `"${victim}": "${upper1}"`,
      `"${victim}": "model-00002-of-00003.safetensors"`,
    ),
    expect: { file: "model.safetensors.index.json", kind: "index", tensor: victim },
    restore: 0,
  },
  "the index, no JSON": {
    do: replaceIn("model.safetensors.index.json", "{", "["),
    expect: { file: "model.safetensors.index.json", kind: "index" },
    restore: 0,
  },
  "the manifest, no JSON": {
    do: (directory) => writeFileSync(join(directory, "nestedfp/manifest.json"), "garbage"),
    expect: { file: "nestedfp/manifest.json", kind: "manifest" },
    restore: 4,
  },
  "the manifest, empty": {
    do: (directory) => writeFileSync(join(directory, "nestedfp/manifest.json"), ""),
    expect: { file: "nestedfp/manifest.json", kind: "manifest" },
    restore: 4,
  },
  "a number in the manifest": {
    do: (directory) => {
      const path = join(directory, "nestedfp/manifest.json");
      const manifest: Manifest = JSON.parse(readFileSync(path, "utf8"));
      writeFileSync(path, JSON.stringify({ ...manifest, tool: { ...manifest.tool, version: "9.9.9" } }));
    },
    expect: { file: "nestedfp/manifest.json", kind: "sha256" },
    notQuick: true,
    restore: 0,
  },
  "a line of SHA256SUMS, changed": {
    do: (directory) =>
      changeBytes(join(directory, "nestedfp/SHA256SUMS"), 0, (byte) => (byte === 0x30 ? 0x31 : 0x30)),
    expect: { file: "nestedfp/SHA256SUMS", kind: "sums" },
    restore: 0,
  },
  "a line of SHA256SUMS, garbage": {
    do: (directory) => appendFileSync(join(directory, "nestedfp/SHA256SUMS"), "garbage\n"),
    expect: { file: "nestedfp/SHA256SUMS", kind: "sums" },
    restore: 0,
  },
  "SHA256SUMS, missing": {
    do: (directory) => rmSync(join(directory, "nestedfp/SHA256SUMS")),
    expect: { file: "nestedfp/SHA256SUMS", kind: "sums" },
    restore: 0,
  },
  "a lower file, missing": {
    do: (directory) => rmSync(join(directory, lower1)),
    expect: { file: lower1, kind: "missing" },
    restore: 4,
  },
  "an upper file, a folder instead": {
    do: (directory) => {
      rmSync(join(directory, upper1));
      mkdirSync(join(directory, upper1));
    },
    expect: { file: upper1, kind: "missing" },
    restore: 4,
  },
  "an upper file, truncated": {
    do: (directory) => truncateSync(join(directory, upper1), statSync(join(directory, upper1)).size - 1),
    expect: { file: upper1, kind: "size" },
    restore: 4,
  },
  "a tokenizer, changed": {
    do: replaceIn("tokenizer.json", '"seed"', '"need"'),
    expect: { file: "tokenizer.json", kind: "sha256" },
    notQuick: true,
    restore: 1,
  },
  "an extra model.safetensors": {
    do: (directory) => linkSync(join(directory, upper1), join(directory, "model.safetensors")),
    expect: { file: "model.safetensors", kind: "unexpected" },
    restore: 0,
  },
  "an extra hf_quant_config.json": {
    do: (directory) => writeFileSync(join(directory, "hf_quant_config.json"), "{}"),
    expect: { file: "hf_quant_config.json", kind: "unexpected" },
    restore: 0,
  },
};

describe("damage is found, named, and not restored:", { concurrency: 2 }, () => {
  for (const [what, damage] of Object.entries(damages)) {
    test(what, async () => {
      const directory = join(scratch.path, what.replaceAll(/\W/g, "-"));
      cpSync(whole, directory, { recursive: true });
      damage.do(directory);

      for (const level of damage.notQuick ? [] : ["--quick"]) await assertFound(directory, [level], damage);
      await assertFound(directory, [], damage);
      await assertFound(directory, ["--deep"], damage);

      const back = `${directory}-back`;
      const restored = await nestedfp(["restore", directory, "-o", back]);
      if (damage.restore === 0) assertOk(restored);
      else assertRefused(restored, damage.restore, /./);
      assertOnlySourceFiles(back);
    });
  }

  test("nothing, where nothing is damaged", async () => {
    for (const level of [["--quick"], [], ["--deep"]]) assertOk(await nestedfp(["verify", whole, ...level]));
  });
});

async function assertFound(
  directory: string,
  level: readonly string[],
  { expect: wanted }: Damage,
): Promise<void> {
  const run = await nestedfp(["verify", directory, ...level, "--json"]);
  assert.equal(run.code, 1, run.stderr);
  const { result } = documentOf<VerifyResult>(run);
  assert.equal(result.ok, false);
  const found = result.problems.filter(
    ({ file, kind, tensor }) =>
      file === wanted.file &&
      kind === wanted.kind &&
      (wanted.tensor === undefined || tensor === wanted.tensor),
  );
  assert.ok(found.length > 0, `${level}: ${JSON.stringify(result.problems, null, 1)}`);
}

/** Every file under a final name is whole. */
function assertOnlySourceFiles(directory: string): void {
  if (!existsSync(directory)) return;
  const source = join(scratch.path, "source");
  const names = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { name } of names) {
    assert.ok(readFileSync(join(directory, name)).equals(readFileSync(join(source, name))), name);
  }
}

test("lower files of the same size, exchanged between two shards, are told apart", async () => {
  const [source, directory] = [join(scratch.path, "twins"), join(scratch.path, "exchanged")];
  const prng = new Prng(2);
  writeCheckpoint(source, {
    "a.safetensors": decoderLayer(prng, 0, "F16", 16).slice(1, 4),
    "b.safetensors": decoderLayer(prng, 1, "F16", 16).slice(1, 4),
  });
  assertOk(await nestedfp(["convert", source, "-o", directory]));
  const lower = (shard: number): string => join(directory, `nestedfp/lower-0000${shard}-of-00002.nfp`);
  assert.equal(statSync(lower(1)).size, statSync(lower(2)).size);
  renameSync(lower(1), `${directory}-swap`);
  renameSync(lower(2), lower(1));
  renameSync(`${directory}-swap`, lower(2));
  const run = await nestedfp(["verify", directory, "--quick"]);
  assert.equal(run.code, 1, run.stderr);
  for (const shard of [1, 2]) {
    assert.match(
      run.stdout,
      new RegExp(`lower-0000${shard}-of-00002\\.nfp: metadata nestedfp\\.shard is .* \\[header\\]`),
    );
  }
  assertRefused(await nestedfp(["restore", directory, "-o", `${directory}-back`]), 4, /source header/);
});

describe("what is no nestedfp directory is refused with 4:", { concurrency: 2 }, () => {
  for (const command of [
    ["verify"],
    ["restore", "-o", "back"],
    ["export", "--to", "fp8-only", "-o", "back"],
  ]) {
    test(`${command[0]} of a source checkpoint, and of nothing`, async () => {
      const run = (path: string): ReturnType<typeof nestedfp> =>
        nestedfp([command[0] ?? "", path, ...command.slice(1)], { cwd: scratch.path });
      assertRefused(
        await run("source"),
        4,
        /is not a nestedfp directory: it has no nestedfp\/manifest\.json/,
      );
      assertRefused(await run("nowhere"), 4, /"nowhere" does not exist/);
      assert.ok(!readdirSync(scratch.path).includes("back"));
    });
  }

  test("a newer major version", async () => {
    const directory = join(scratch.path, "newer");
    cpSync(whole, directory, { recursive: true });
    replaceIn("nestedfp/manifest.json", '"format_version": "1.0"', '"format_version": "2.0"')(directory);
    assertRefused(
      await nestedfp(["verify", directory]),
      4,
      /has format version "2", and this nestedfp reads "1"/,
    );
  });
});
