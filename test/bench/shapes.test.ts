import assert from "node:assert/strict";
import { test } from "node:test";
import { presetModels, presetNames } from "../../src/bench/presets.ts";
import { fusedShapes, mergeShapes, parseShape } from "../../src/bench/shapes.ts";
import { UsageError } from "../../src/errors.ts";

function sizesOf(preset: string, tp = 1): string[] {
  return presetModels(preset).flatMap((model) => fusedShapes(model, tp).map(({ n, k }) => `${n}x${k}`));
}

/** qkv, o, gate_up, down. */
const fused: Readonly<Record<string, string>> = {
  "llama-3.1-8b": "6144x4096 4096x4096 28672x4096 4096x14336",
  "mistral-nemo-12b": "6144x5120 5120x4096 28672x5120 5120x14336",
  "phi-4": "7680x5120 5120x5120 35840x5120 5120x17920",
  "mistral-small-24b": "6144x5120 5120x4096 65536x5120 5120x32768",
  "llama-3.1-70b": "10240x8192 8192x8192 57344x8192 8192x28672",
  "qwen3-8b": "6144x4096 4096x4096 24576x4096 4096x12288",
  "qwen3-32b": "10240x5120 5120x8192 51200x5120 5120x25600",
  "llama-3.2-1b": "3072x2048 2048x2048 16384x2048 2048x8192",
  "llama-3.2-3b": "5120x3072 3072x3072 16384x3072 3072x8192",
  "qwen2.5-0.5b": "1152x896 896x896 9728x896 896x4864",
  "qwen2.5-7b": "4608x3584 3584x3584 37888x3584 3584x18944",
  "qwen2.5-72b": "10240x8192 8192x8192 59136x8192 8192x29568",
  "mixtral-8x7b": "6144x4096 4096x4096 28672x4096 4096x14336",
};

for (const [preset, sizes] of Object.entries(fused)) {
  test(`${preset} is fused as engines fuse it`, () => assert.equal(sizesOf(preset).join(" "), sizes));
}

test("every preset has shapes of whole numbers", () => {
  for (const preset of presetNames) assert.match(sizesOf(preset).join(" "), /^(\d+x\d+ ?)+$/, preset);
});

test("the measured table is 24 shapes of seven models", () => {
  const models = presetModels("marks");
  assert.equal(models.length, 7);
  const shapes = mergeShapes(models.flatMap((model) => fusedShapes(model, 1)));
  assert.equal(shapes.length, 24);
  assert.deepEqual(shapes[0], { n: 6144, k: 4096, names: ["llama-3.1-8b qkv", "qwen3-8b qkv"] });
});

test("tensor parallelism splits N of qkv and gate_up, K of o and down, and replicates kv heads", () => {
  assert.equal(sizesOf("llama-3.1-8b", 2).join(" "), "3072x4096 4096x2048 14336x4096 4096x7168");
  assert.equal(sizesOf("llama-3.1-70b", 8).join(" "), "1280x8192 8192x1024 7168x8192 8192x3584");
  // Each GPU holds 2 heads, and a copy of one of the 2 kv heads.
  assert.equal(
    fusedShapes({ ...llama, heads: 8, kvHeads: 2 }, 4)
      .map(({ n }) => n)
      .join(),
    "512,4096,7168,4096",
  );
  assert.deepEqual(presetModels("llama-3.1-8b").flatMap((model) => fusedShapes(model, 2))[0]?.names, [
    "llama-3.1-8b tp2 qkv",
  ]);
});

const llama = {
  name: "m",
  hiddenSize: 4096,
  intermediateSize: 14336,
  heads: 32,
  kvHeads: 8,
  headDim: 128,
};

test("what does not divide is refused with both numbers", () => {
  assert.throws(() => sizesOf("qwen2.5-0.5b", 4), {
    name: UsageError.name,
    message: '--tp 4 does not divide the 14 attention heads of "qwen2.5-0.5b"',
  });
  assert.throws(() => fusedShapes({ ...llama, intermediateSize: 14338 }, 4), /14338 columns of its MLP/);
  assert.throws(() => fusedShapes({ ...llama, heads: 24, kvHeads: 6 }, 4), /6 kv heads/);
  assert.throws(() => presetModels("llama-9"), /--preset "llama-9" is not known/);
  assert.throws(() => presetModels("__proto__"), UsageError);
});

test("experts are separate layers by name", () => {
  const names = presetModels("mixtral-8x7b").flatMap((model) =>
    fusedShapes(model, 1).flatMap((s) => s.names),
  );
  assert.deepEqual(names, [
    "mixtral-8x7b qkv",
    "mixtral-8x7b o",
    "mixtral-8x7b expert gate_up",
    "mixtral-8x7b expert down",
  ]);
});

test("a shape is N,K or NxK", () => {
  assert.deepEqual(parseShape("4096,14336"), { n: 4096, k: 14336, names: ["4096x14336"] });
  assert.deepEqual(parseShape("1x16"), { n: 1, k: 16, names: ["1x16"] });
  for (const text of ["", "4096", "0,16", "16,-1", "1,2,3", "1e3,16", "1048577,16"]) {
    assert.throws(() => parseShape(text), UsageError, text);
  }
});
