import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { FormatError } from "../../src/errors.ts";
import { parseConfig } from "../../src/model/config.ts";
import { sizes, specOf } from "./configs.ts";
import { sharedData, skipWithoutData } from "./shared-data.ts";

const none = [undefined, undefined, undefined];

/** What all of shared/data/archs have in common. */
const common = {
  architecture: "llama",
  hiddenSize: 128,
  intermediateSize: 352,
  layers: 3,
  heads: 8,
  kvHeads: 2,
  headDim: 16,
  vocabSize: 512,
  maxPositions: 1024,
  rmsNormEps: 1e-5,
  tieWordEmbeddings: false,
  attentionBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  fusedProjections: false,
  slidingWindow: none,
  rope: { type: "default", theta: 10_000, rotaryDim: 16 },
  bosId: 1,
  eosIds: [2],
};

const archs = {
  llama: common,
  "llama3-rope": {
    ...common,
    headDim: 32,
    rope: {
      type: "llama3",
      theta: 500_000,
      rotaryDim: 32,
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 256,
    },
  },
  mistral: {
    ...common,
    architecture: "mistral",
    headDim: 24,
    rope: { type: "default", theta: 1_000_000, rotaryDim: 24 },
  },
  qwen2: {
    ...common,
    architecture: "qwen2",
    attentionBias: true,
    rope: { type: "default", theta: 1_000_000, rotaryDim: 16 },
  },
  qwen3: {
    ...common,
    architecture: "qwen3",
    headDim: 32,
    qkNorm: true,
    rope: { type: "default", theta: 1_000_000, rotaryDim: 32 },
  },
  phi3: { ...common, architecture: "phi3", fusedProjections: true },
  phi4: {
    ...common,
    architecture: "phi3",
    kvHeads: 4,
    fusedProjections: true,
    rope: { type: "default", theta: 250_000, rotaryDim: 12 },
  },
};

for (const [name, expected] of Object.entries(archs)) {
  test(`reads archs/${name} as transformers 5 wrote it`, { skip: skipWithoutData }, () => {
    assert.deepEqual(parseConfig(readFileSync(`${sharedData}archs/${name}/config.json`)), expected);
  });
}

test("refuses archs/mixtral by name, with what is supported", { skip: skipWithoutData }, () => {
  assert.throws(() => parseConfig(readFileSync(`${sharedData}archs/mixtral/config.json`)), {
    name: "FormatError",
    message: '"config.json": model_type "mixtral" is not supported',
    hint: "nestedfp runs models of type llama, mistral, qwen2, qwen3, phi3",
  });
});

test("reads the fixture as transformers 4 wrote it", () => {
  const config = readFileSync(new URL("../../fixtures/tiny-llama/config.json", import.meta.url));
  assert.deepEqual(parseConfig(config), {
    ...common,
    hiddenSize: 192,
    intermediateSize: 512,
    layers: 4,
    heads: 6,
    headDim: 32,
    vocabSize: 2048,
    slidingWindow: [...none, undefined],
    rope: { type: "default", theta: 10_000, rotaryDim: 32 },
    bosId: 0,
    eosIds: [1],
  });
});

test("takes the class's defaults for what is absent", () => {
  const absent = { num_key_value_heads: undefined, num_attention_heads: 32, head_dim: undefined };
  const facts = (architecture: string) => {
    const { kvHeads, headDim, rmsNormEps, tieWordEmbeddings, rope, bosId, eosIds } = specOf(
      architecture,
      absent,
    );
    return [kvHeads, headDim, rmsNormEps, tieWordEmbeddings, rope.theta, bosId, eosIds];
  };
  assert.deepEqual(facts("llama"), [32, 4, 1e-6, false, 10_000, undefined, []]);
  assert.deepEqual(facts("mistral"), [8, 4, 1e-6, false, 10_000, undefined, []]);
  assert.deepEqual(facts("qwen2"), [32, 4, 1e-6, false, 10_000, undefined, []]);
  assert.deepEqual(facts("qwen3"), [32, 128, 1e-6, false, 10_000, undefined, []]);
  assert.deepEqual(facts("phi3"), [32, 4, 1e-5, false, 10_000, undefined, []]);
});

test("null heads and head width follow from the others", () => {
  const spec = specOf("mistral", { num_attention_heads: 16, num_key_value_heads: null, head_dim: null });
  assert.deepEqual([spec.kvHeads, spec.headDim], [16, 8]);
  assert.equal(specOf("qwen3", { head_dim: null }).headDim, 16);
  assert.equal(specOf("qwen2", { head_dim: 20 }).headDim, 20);
});

test("a bias key counts only where the architecture has such biases", () => {
  const biases = (architecture: string, value: boolean) => {
    const spec = specOf(architecture, { attention_bias: value, mlp_bias: value });
    return [spec.attentionBias, spec.outputBias, spec.mlpBias];
  };
  assert.deepEqual(biases("llama", true), [true, true, true]);
  assert.deepEqual(biases("llama", false), [false, false, false]);
  assert.deepEqual(biases("mistral", true), [false, false, false]);
  assert.deepEqual(biases("qwen2", false), [true, false, false]);
  assert.deepEqual(biases("qwen3", true), [true, true, false]);
  assert.deepEqual(biases("qwen3", false), [false, false, false]);
  assert.deepEqual(biases("phi3", true), [false, false, false]);
});

test("reads tied embeddings and several ends of text", () => {
  const spec = specOf("llama", { tie_word_embeddings: true, eos_token_id: [7, 9], bos_token_id: 0 });
  assert.deepEqual([spec.tieWordEmbeddings, spec.eosIds, spec.bosId], [true, [7, 9], 0]);
});

for (const [name, members, problem] of [
  ["another architecture", { model_type: "gemma2" }, 'model_type "gemma2" is not supported'],
  ["an inherited name", { model_type: "constructor" }, 'model_type "constructor" is not supported'],
  ["no architecture", { model_type: null }, '"model_type" is missing'],
  [
    "a classifier",
    { architectures: ["LlamaForSequenceClassification"] },
    '"architectures" is "LlamaForSequenceClassification", which is no causal language model',
  ],
  ["another activation", { hidden_act: "gelu" }, '"hidden_act" is "gelu", but only "silu" is supported'],
  ["a missing size", { hidden_size: undefined }, '"hidden_size" is missing'],
  ["a size of 0", { vocab_size: 0 }, '"vocab_size" must be an integer of at least 1, found 0'],
  [
    "a negative size",
    { intermediate_size: -5 },
    '"intermediate_size" must be an integer of at least 1, found -5',
  ],
  [
    "a fraction",
    { max_position_embeddings: 10.5 },
    '"max_position_embeddings" must be an integer of at least 1, found 10.5',
  ],
  ["text", { hidden_size: "128" }, '"hidden_size" must be an integer of at least 1, found "128"'],
  [
    "a billion layers",
    { num_hidden_layers: 1e9 },
    '"num_hidden_layers" must be an integer of 1 to 4096, found 1000000000',
  ],
  [
    "heads that do not group",
    { num_key_value_heads: 3 },
    '"num_attention_heads" 8 is not a multiple of "num_key_value_heads" 3',
  ],
  [
    "heads that do not divide",
    { hidden_size: 100 },
    '"hidden_size" 100 is not a multiple of "num_attention_heads" 8, and there is no "head_dim"',
  ],
  ["epsilon 0", { rms_norm_eps: 0 }, '"rms_norm_eps" must be a positive number, found 0'],
  [
    "a flag that is none",
    { tie_word_embeddings: "no" },
    '"tie_word_embeddings" must be true or false, found "no"',
  ],
  ["half an id", { eos_token_id: [1, 2.5] }, '"eos_token_id" has 2.5, which is no token id'],
  ["a negative id", { bos_token_id: -1 }, '"bos_token_id" must be an integer of at least 0, found -1'],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => specOf("llama", members), {
      name: "FormatError",
      message: `"config.json": ${problem}`,
    });
  });
}

for (const [name, text, problem] of [
  ["no JSON", "{", "expected a key, found the end at byte 1"],
  ["a list", "[]", "expected a JSON object, found a list of 0"],
  ["a duplicate key", '{"a":1,"a":1}', 'duplicate key "a" at byte 7'],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(
      () => parseConfig(new TextEncoder().encode(text), "here/config.json"),
      (error) => error instanceof FormatError && error.message === `"here/config.json": ${problem}`,
    );
  });
}

for (const key of Object.keys(sizes).filter((name) => name !== "num_key_value_heads")) {
  test(`refuses a config without ${key}`, () => {
    assert.throws(() => specOf("phi3", { [key]: undefined }), {
      message: `"config.json": "${key}" is missing`,
    });
  });
}
