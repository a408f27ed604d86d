import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { FormatError } from "../../src/errors.ts";
import { openCheckpoint } from "../../src/safetensors/checkpoint.ts";
import { scratch, shardOf } from "./scratch.ts";

const indexName = "model.safetensors.index.json";
const indexOf = (weightMap: Readonly<Record<string, string>>) =>
  JSON.stringify({ metadata: {}, weight_map: weightMap });
const two = {
  "1.safetensors": shardOf("a", "b"),
  "2.safetensors": shardOf("c"),
};
const twoIndex = indexOf({ c: "2.safetensors", a: "1.safetensors", b: "1.safetensors" });

const refusal =
  (message: RegExp, hint = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof FormatError, String(error));
    assert.match(error.message, message);
    assert.match(error.hint ?? "", hint);
    return true;
  };

/** The names of the shards of a checkpoint and of its index, which is closed at once. */
async function opened(
  source: string,
): Promise<{ shards: string[]; index: string | undefined; root: string }> {
  const checkpoint = await openCheckpoint(source);
  await checkpoint.close();
  return {
    shards: checkpoint.shards.map((shard) => shard.name),
    index: checkpoint.index?.name,
    root: checkpoint.root,
  };
}

test("one view over the shards of an index", async (t) => {
  const directory = scratch(t, { ...two, [indexName]: twoIndex });
  const checkpoint = await openCheckpoint(directory);
  t.after(() => checkpoint.close());
  assert.equal(checkpoint.root, directory);
  assert.deepEqual(checkpoint.index, { name: indexName, path: join(directory, indexName) });
  const place = checkpoint.find("b");
  assert.equal(place?.shard.name, "1.safetensors");
  const byte = new Uint8Array(1);
  if (place !== undefined) await place.shard.readTensor(place.info, 0, byte);
  assert.deepEqual([...byte], [1]);
  assert.equal(checkpoint.find("__proto__"), undefined);
  assert.equal(checkpoint.find("d"), undefined);
});

test("finds the files of a directory in the order that transformers does", async (t) => {
  const model = { "model.safetensors": shardOf("m") };
  const named = { "x.safetensors.index.json": twoIndex };
  const cases: [Record<string, string | Uint8Array>, string[], string | undefined][] = [
    [{ ...two, [indexName]: twoIndex, ...model }, ["model.safetensors"], undefined],
    [{ ...two, [indexName]: twoIndex, ...named }, ["1.safetensors", "2.safetensors"], indexName],
    [{ ...two, ...named }, ["1.safetensors", "2.safetensors"], "x.safetensors.index.json"],
    [{ "y.safetensors": shardOf("y"), "y.bin": "", "sub/z.safetensors": "" }, ["y.safetensors"], undefined],
    [{ "y.safetensors": shardOf("y"), "._y.safetensors": "" }, ["y.safetensors"], undefined],
    [
      { ...two, [indexName]: twoIndex, "consolidated.safetensors": "" },
      ["1.safetensors", "2.safetensors"],
      indexName,
    ],
  ];
  for (const [files, shards, index] of cases) {
    const root = scratch(t, files);
    assert.deepEqual(await opened(root), { shards, index, root });
  }
});

test("takes one file or one index by name", async (t) => {
  const root = scratch(t, { ...two, [indexName]: twoIndex });
  assert.deepEqual(await opened(join(root, "2.safetensors")), {
    shards: ["2.safetensors"],
    index: undefined,
    root,
  });
  assert.deepEqual(await opened(join(root, indexName)), {
    shards: ["1.safetensors", "2.safetensors"],
    index: indexName,
    root,
  });
});

test("follows links of listed names out of the directory, as in the HF cache", async (t) => {
  const root = scratch(t, {
    "blobs/1": shardOf("a", "b"),
    "blobs/2": shardOf("c"),
    "blobs/3": twoIndex,
    "snapshot/.keep": "",
  });
  for (const [blob, name] of [
    ["1", "1.safetensors"],
    ["2", "2.safetensors"],
    ["3", indexName],
  ]) {
    symlinkSync(`../blobs/${blob}`, join(root, "snapshot", name ?? ""));
  }
  assert.deepEqual((await opened(join(root, "snapshot"))).shards, ["1.safetensors", "2.safetensors"]);
  rmSync(join(root, "blobs/2"));
  await assert.rejects(
    openCheckpoint(join(root, "snapshot")),
    refusal(/^"model.safetensors.index.json": shard "2.safetensors" does not exist in /, /incomplete/),
  );
});

test("tells what is wrong with a source", { timeout: 5000 }, async (t) => {
  const root = scratch(t, {
    "x.gguf": "GGUF",
    "pytorch_model.bin": "PK",
    "config.json": "{}",
    "pytorch_model.bin.index.json": "{}",
  });
  execFileSync("mkfifo", [join(root, "pipe.safetensors")]);
  await assert.rejects(openCheckpoint(join(root, "absent")), refusal(/absent" not found$/, /check the path/));
  await assert.rejects(openCheckpoint(""), refusal(/^"" not found$/));
  await assert.rejects(openCheckpoint(join(root, "x.gguf")), refusal(/x\.gguf" is neither/, /GGUF/));
  await assert.rejects(
    openCheckpoint(join(root, "pytorch_model.bin")),
    refusal(/is neither/, /safe_serialization/),
  );
  await assert.rejects(
    openCheckpoint(join(root, "pytorch_model.bin.index.json")),
    refusal(/is neither/, /PyTorch/),
  );
  await assert.rejects(
    openCheckpoint(join(root, "config.json")),
    refusal(/is neither/, /name a .safetensors file/),
  );
  await assert.rejects(openCheckpoint(join(root, "config.json", "x")), refusal(/ENOTDIR/));
  await assert.rejects(openCheckpoint(join(root, "pipe.safetensors")), refusal(/is a FIFO/));
  await assert.rejects(openCheckpoint(root), refusal(/is a FIFO/));
  rmSync(join(root, "pipe.safetensors"));
  await assert.rejects(
    openCheckpoint(root),
    refusal(/no safetensors: found "pytorch_model.bin", .*"x.gguf"$/),
  );
  await assert.rejects(openCheckpoint(scratch(t)), refusal(/holds no safetensors: it is empty$/));
});

const openFiles = () => readdirSync("/proc/self/fd").length;

test("many shards do not stay open", {
  skip: process.platform !== "linux" && "counts descriptors in /proc",
}, async (t) => {
  for (const [count, mayStayOpen] of [
    [64, 64],
    [200, 0],
  ] as const) {
    const names = Array.from({ length: count }, (_, i) => `t${i}`);
    const files = Object.fromEntries(names.map((name) => [`${name}.safetensors`, shardOf(name)]));
    const weightMap = Object.fromEntries(names.map((name) => [name, `${name}.safetensors`]));
    const root = scratch(t, { ...files, [indexName]: indexOf(weightMap) });
    const before = openFiles();
    const checkpoint = await openCheckpoint(root);
    assert.equal(openFiles() - before, mayStayOpen);
    const byte = new Uint8Array(1).fill(9);
    for (const name of names) {
      const place = checkpoint.find(name);
      assert.ok(place);
      await place.shard.readTensor(place.info, 0, byte.fill(9));
      assert.equal(byte[0], 0);
    }
    await checkpoint.close();
    assert.equal(openFiles(), before);
  }
});

test("a refused checkpoint leaves nothing open", {
  skip: process.platform !== "linux" && "counts descriptors in /proc",
}, async (t) => {
  const root = scratch(t, { ...two, [indexName]: twoIndex.replace('"b"', '"d"') });
  const before = openFiles();
  await assert.rejects(openCheckpoint(root), refusal(/tensor "b" of "1.safetensors" is not in the index$/));
  assert.equal(openFiles(), before);
});
