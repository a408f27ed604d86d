import assert from "node:assert/strict";
import { test } from "node:test";
import { dimensionsOfConfig } from "../../src/bench/config-dimensions.ts";
import { fusedShapes } from "../../src/bench/shapes.ts";
import { FormatError } from "../../src/errors.ts";
import { sizes } from "../model/configs.ts";

type Members = Readonly<Record<string, unknown>>;

const dimensions = (members: Members) =>
  dimensionsOfConfig(
    new TextEncoder().encode(JSON.stringify({ ...sizes, ...members })),
    "m/config.json",
    "m",
  );
const shapes = (members: Members) =>
  fusedShapes(dimensions(members), 1).map(({ n, k, names }) => `${names} ${n}x${k}`);

test("a dense model: sizes and head_dim of its config", () => {
  assert.deepEqual(shapes({ model_type: "qwen3", head_dim: 32 }), [
    "m qkv 384x128",
    "m o 128x256",
    "m gate_up 704x128",
    "m down 128x352",
  ]);
});

test("a mixture of experts: the MLP of each expert", () => {
  assert.deepEqual(shapes({ model_type: "mixtral" }), [
    "m qkv 192x128",
    "m o 128x128",
    "m expert gate_up 704x128",
    "m expert down 128x352",
  ]);
  const qwen = shapes({ model_type: "qwen3_moe", moe_intermediate_size: 96, head_dim: 64 });
  assert.deepEqual(qwen.slice(2), ["m expert gate_up 192x128", "m expert down 128x96"]);
});

test("an architecture that is not known, or a size that is missing, is refused", () => {
  const wrong: Members[] = [
    { model_type: "gpt2" },
    {},
    { model_type: "__proto__" },
    { model_type: "mixtral", num_key_value_heads: undefined },
    { model_type: "mixtral", hidden_size: 130 },
    { model_type: "qwen3_moe" },
  ];
  for (const members of wrong) assert.throws(() => dimensions(members), FormatError, JSON.stringify(members));
  assert.throws(() => dimensions({ model_type: "llama", hidden_size: undefined }), {
    message: '"m/config.json": "hidden_size" is missing',
  });
});

test("what no shape depends on may be missing", () => {
  const bare = { vocab_size: undefined, max_position_embeddings: undefined, rope_scaling: { type: "new" } };
  assert.equal(shapes({ model_type: "llama", ...bare }).length, 4);
});
