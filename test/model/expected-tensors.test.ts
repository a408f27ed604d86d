import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { parseConfig } from "../../src/model/config.ts";
import { expectedTensors } from "../../src/model/expected-tensors.ts";
import { openShard } from "../../src/safetensors/reader.ts";
import { specOf } from "./configs.ts";
import { sharedData, skipWithoutData } from "./shared-data.ts";

const fixture = new URL("../../fixtures/tiny-llama/", import.meta.url).pathname;

for (const name of ["llama", "llama3-rope", "mistral", "qwen2", "qwen3", "phi3", "phi4"]) {
  test(`asks archs/${name} for exactly what it has`, { skip: skipWithoutData }, async () => {
    await checkAgainst(`${sharedData}archs/${name}/`);
  });
}

test("asks the fixture for exactly what it has", async () => {
  await checkAgainst(fixture);
});

test("asks for the biases of a Llama with attention_bias and mlp_bias", () => {
  const tensors = expectedTensors(specOf("llama", { attention_bias: true, mlp_bias: true, head_dim: 24 }));
  const biases = tensors.filter(({ name }) => name.startsWith("model.layers.2.") && name.endsWith(".bias"));
  assert.deepEqual(
    biases.map(({ name, shape }) => [name.slice("model.layers.2.".length), ...shape]),
    [
      ["self_attn.q_proj.bias", 192],
      ["self_attn.k_proj.bias", 48],
      ["self_attn.v_proj.bias", 48],
      ["self_attn.o_proj.bias", 128],
      ["mlp.gate_proj.bias", 352],
      ["mlp.up_proj.bias", 352],
      ["mlp.down_proj.bias", 128],
    ],
  );
});

test("asks for no lm_head when it is tied to the embedding", () => {
  const names = (tie_word_embeddings: boolean) =>
    expectedTensors(specOf("qwen3", { tie_word_embeddings })).map(({ name }) => name);
  assert.deepEqual(
    names(false).filter((name) => !names(true).includes(name)),
    ["lm_head.weight"],
  );
});

async function checkAgainst(folder: string): Promise<void> {
  const spec = parseConfig(readFileSync(`${folder}config.json`));
  const shard = await openShard(`${folder}model.safetensors`);
  const shapes = (tensors: Iterable<{ name: string; shape: readonly number[] }>) =>
    Object.fromEntries([...tensors].map(({ name, shape }) => [name, [...shape]]));
  try {
    assert.deepEqual(shapes(expectedTensors(spec)), shapes(shard.header.tensors.values()));
  } finally {
    await shard.close();
  }
}
