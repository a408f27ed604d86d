import assert from "node:assert/strict";
import { test } from "node:test";

import { fileNameProblem, parseIndex } from "../../src/safetensors/index-file.ts";

const parse = (text: string) => parseIndex(new TextEncoder().encode(text), "i.json");

test("reads the weight map, the shards in UTF-8 order, and the metadata", () => {
  const index = parse(
    '{"metadata":{"total_size":12},"weight_map":{"c":"😀.safetensors","a":"\ue000.safetensors","b":"1.safetensors","__proto__":"1.safetensors"},"more":[]}',
  );
  assert.deepEqual([...index.weightMap.keys()], ["c", "a", "b", "__proto__"]);
  assert.deepEqual(index.shardNames, ["1.safetensors", "\ue000.safetensors", "😀.safetensors"]);
  assert.deepEqual(index.metadata, new Map([["total_size", { text: "12" }]]));
  assert.equal(parse('{"weight_map":{"a":"b"}}').metadata, undefined);
});

test("takes plain file names", () => {
  for (const name of [
    "a",
    "model-00001-of-00002.safetensors",
    "...a",
    "null",
    "console.safetensors",
    "é".repeat(127),
  ]) {
    assert.equal(fileNameProblem(name), undefined, name);
  }
});

for (const [name, problem] of [
  ["", /empty/],
  [".", /directory/],
  ["..", /directory/],
  ["../a", /separator/],
  ["/a", /separator/],
  ["a/", /separator/],
  ["a\\b", /separator/],
  ["\\\\server\\a", /separator/],
  ["a\0", /control/],
  ["a\n", /control/],
  ["a\u009b", /control/],
  ["C:", /reserves/],
  ["C:a", /reserves/],
  ["a:stream", /reserves/],
  ["a?", /reserves/],
  ["a.", /dot or a space/],
  ["a ", /dot or a space/],
  ["con", /device/],
  ["CON.safetensors", /device/],
  ["Lpt1.x.y", /device/],
  ["a".repeat(256), /255/],
  [`${"é".repeat(127)}aa`, /255/],
] as const) {
  test(`refuses ${JSON.stringify(name.slice(0, 30))}`, () => {
    assert.match(fileNameProblem(name) ?? "", problem);
    assert.throws(() => parse(JSON.stringify({ weight_map: { t: name } })), problem);
  });
}
