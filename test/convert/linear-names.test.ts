import assert from "node:assert/strict";
import { test } from "node:test";
import { fusionKey } from "../../src/convert/fusion.ts";
import {
  isEmbeddingOrHead,
  isFusedExperts,
  isLinearName,
  isMatrixWeight,
  leafOf,
  moduleOf,
} from "../../src/convert/linear-names.ts";

test("linear projections of a language model, by name", () => {
  for (const name of [
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.mlp.experts.63.down_proj.weight",
    "model.layers.0.block_sparse_moe.experts.7.w2.weight",
    "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
    "model.layers.0.linear_attn.in_proj_qkvz.weight",
    "encoder.layer.0.attention.output.dense.weight",
    "transformer.h.0.mlp.fc1.weight",
    "transformer.h.0.mlp.dense.weight",
    "model.language_model.layers.0.self_attn.o_proj.weight",
    "q_proj.weight",
  ]) {
    assert.ok(isLinearName(name), name);
  }
  for (const name of [
    "model.embed_tokens.weight",
    "lm_head.weight",
    "model.layers.0.mlp.gate.weight",
    "model.layers.0.block_sparse_moe.gate.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.self_attn.q_norm.weight",
    "model.layers.0.self_attn.q_proj.bias",
    "model.layers.0.self_attn.q_proj",
    "transformer.h.0.attn.c_attn.weight",
    "pooler.dense.weight",
    "classifier.dense.weight",
    "encoder.layer.0.output.dense.weight",
    "vision_tower.layers.0.self_attn.q_proj.weight",
    "model.visual.blocks.0.mlp.up_proj.weight",
    "multi_modal_projector.fc1.weight",
    "model.layers.0.router.w1.weight",
    "model.layers.0.conv1d.in_proj_x.weight",
    "score.weight",
  ]) {
    assert.ok(!isLinearName(name), name);
  }
});

test("embeddings and heads, which nothing may split", () => {
  for (const module of [
    "lm_head",
    "model.embed_tokens",
    "transformer.wte",
    "output",
    "embed_out",
    "a.word_embeddings",
  ])
    assert.ok(isEmbeddingOrHead(`${module}.weight`), module);
  for (const module of ["model.layers.0.self_attn.o_proj", "layers.0.output", "model.norm"])
    assert.ok(!isEmbeddingOrHead(`${module}.weight`), module);
  assert.ok(!isEmbeddingOrHead("lm_head.bias"));
});

test("matrices and fused experts, by shape", () => {
  const shaped = (name: string, ...shape: number[]) => ({ name, dtype: "F16", shape }) as const;
  assert.ok(isMatrixWeight(shaped("a.weight", 1, 1)));
  for (const tensor of [shaped("a.weight", 0, 16), shaped("a.weight", 16), shaped("a.bias", 16, 16)])
    assert.ok(!isMatrixWeight(tensor), `${tensor.name} ${tensor.shape}`);
  assert.ok(isFusedExperts(shaped("model.layers.0.mlp.experts.gate_up_proj", 8, 16, 16)));
  assert.ok(!isFusedExperts(shaped("model.layers.0.mlp.experts.gate_up_proj", 8, 16)));
  assert.ok(!isFusedExperts(shaped("model.layers.0.conv.weight", 8, 16, 16)));
});

test("modules and leaves", () => {
  assert.equal(moduleOf("a.b.weight"), "a.b");
  assert.equal(moduleOf("weight"), undefined);
  assert.equal(moduleOf("a.weight_scale"), undefined);
  assert.equal(leafOf("a.b"), "b");
  assert.equal(leafOf("b"), "b");
});

const layer = "model.layers.3";
const fused: readonly (readonly string[])[] = [
  ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  ["mlp.gate_proj", "mlp.up_proj"],
  ["mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj"],
  ["feed_forward.w1", "feed_forward.w3"],
  ["attention.self.query", "attention.self.key", "attention.self.value"],
  ["self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa"],
  ["linear_attn.in_proj_qkv", "linear_attn.in_proj_z"],
  ["linear_attn.in_proj_b", "linear_attn.in_proj_a"],
  ["mlp.experts.0.gate_proj", "mlp.experts.11.up_proj", "mlp.experts.5.down_proj"],
  ["moe.experts.0.w1", "moe.experts.1.w2", "moe.experts.1.w3"],
  ["self_attn.o_proj"],
  ["mlp.down_proj"],
  ["feed_forward.w2"],
];

test("fusion groups: the same key within each, another for any two", () => {
  const keys = fused.map(
    (modules) => new Set(modules.map((module) => fusionKey(`${layer}.${module}.weight`))),
  );
  for (const [i, group] of keys.entries()) {
    assert.equal(group.size, 1, `${fused[i]}`);
    assert.equal(group.has(undefined), fused[i]?.length === 1, `${fused[i]}`);
  }
  const rest = keys.flatMap((group) => [...group]).filter((key) => key !== undefined);
  assert.equal(new Set(rest).size, rest.length);
});

test("fusion groups do not reach into another layer, nor take a bias", () => {
  const key = fusionKey("model.layers.1.self_attn.q_proj.weight");
  assert.notEqual(key, fusionKey("model.layers.11.self_attn.q_proj.weight"));
  assert.notEqual(key, fusionKey("model.layers.1.cross_attn.q_proj.weight"));
  assert.equal(fusionKey("model.layers.1.self_attn.q_proj.bias"), undefined);
  assert.equal(fusionKey("q_proj.weight"), fusionKey("k_proj.weight"));
});

test("heads and tables that only their path gives away are never included", () => {
  for (const name of [
    "shared.weight",
    "lm_head.dense.weight",
    "decoder.block.0.layer.0.relative_attention_bias.weight",
  ]) {
    assert.ok(isEmbeddingOrHead(name), name);
  }
});
