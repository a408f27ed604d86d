import assert from "node:assert/strict";
import { test } from "node:test";

import { specOf } from "./configs.ts";

const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 256 };
const eight = [1, 1, 1, 1, 1, 1, 1, 1];
const longrope = { type: "longrope", short_factor: eight, long_factor: eight.map((one) => one + 1) };

const factors = { shortFactor: longrope.short_factor, longFactor: longrope.long_factor };

for (const [name, architecture, members, expected] of [
  ["theta of transformers 4", "llama", { rope_theta: 5e5 }, { type: "default", theta: 5e5, rotaryDim: 16 }],
  [
    "theta of transformers 5",
    "llama",
    { rope_parameters: { rope_type: "default", rope_theta: 5e5 } },
    { type: "default", theta: 5e5, rotaryDim: 16 },
  ],
  [
    "linear scaling in its oldest spelling",
    "llama",
    { rope_scaling: { type: "linear", factor: 2.5 } },
    { type: "linear", theta: 1e4, rotaryDim: 16, factor: 2.5 },
  ],
  [
    "llama3 scaling of transformers 4",
    "llama",
    { rope_theta: 5e5, rope_scaling: { rope_type: "llama3", ...llama3 } },
    {
      type: "llama3",
      theta: 5e5,
      rotaryDim: 16,
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 256,
    },
  ],
  [
    "the same under both names",
    "llama",
    {
      rope_theta: 7,
      rope_scaling: { type: "linear", factor: 2 },
      rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 7 },
    },
    { type: "linear", theta: 7, rotaryDim: 16, factor: 2 },
  ],
  [
    "equal parameters by layer type",
    "qwen3",
    {
      head_dim: 16,
      rope_parameters: {
        full_attention: { rope_type: "default", rope_theta: 7 },
        sliding_attention: { rope_type: "default", rope_theta: 7 },
      },
    },
    { type: "default", theta: 7, rotaryDim: 16 },
  ],
  [
    "a partial rotation at the top",
    "phi3",
    { partial_rotary_factor: 0.75 },
    { type: "default", theta: 1e4, rotaryDim: 12 },
  ],
  [
    "a partial rotation among the parameters",
    "phi3",
    { rope_parameters: { partial_rotary_factor: 0.5 } },
    { type: "default", theta: 1e4, rotaryDim: 8 },
  ],
  [
    "longrope whose stretch is 4",
    "phi3",
    { rope_scaling: longrope, original_max_position_embeddings: 256 },
    // sqrt(1 + ln 4 / ln 256) = sqrt(1 + 1/4)
    {
      type: "longrope",
      theta: 1e4,
      rotaryDim: 16,
      ...factors,
      originalMaxPositions: 256,
      attentionFactor: 1.118033988749895,
    },
  ],
  [
    "longrope under Phi-3's first name, not stretched",
    "phi3",
    { rope_scaling: { ...longrope, type: "su" } },
    {
      type: "longrope",
      theta: 1e4,
      rotaryDim: 16,
      ...factors,
      originalMaxPositions: 4096,
      attentionFactor: 1,
    },
  ],
  [
    "longrope with its own attention factor, as transformers 5 nests it",
    "phi3",
    {
      rope_parameters: {
        ...longrope,
        rope_type: "longrope",
        original_max_position_embeddings: 512,
        attention_factor: 1.25,
      },
    },
    {
      type: "longrope",
      theta: 1e4,
      rotaryDim: 16,
      ...factors,
      originalMaxPositions: 512,
      attentionFactor: 1.25,
    },
  ],
  [
    "longrope of another architecture, by its factor",
    "llama",
    { rope_scaling: { ...longrope, factor: 4 } },
    {
      type: "longrope",
      theta: 1e4,
      rotaryDim: 16,
      ...factors,
      originalMaxPositions: 1024,
      attentionFactor: Math.sqrt(1.2), // ln 4 / ln 1024 = 1/5
    },
  ],
] as const) {
  test(`reads ${name}`, () => {
    const { rope } = specOf(architecture, members);
    assert.deepEqual(rope, expected);
  });
}

for (const [name, architecture, members, problem] of [
  ["yarn", "qwen2", { rope_scaling: { type: "yarn", factor: 4 } }, 'rotary scaling "yarn" is not supported'],
  [
    "dynamic scaling",
    "llama",
    { rope_scaling: { rope_type: "dynamic", factor: 4 } },
    'rotary scaling "dynamic" is not supported',
  ],
  [
    "two different thetas",
    "llama",
    { rope_theta: 1e4, rope_parameters: { rope_theta: 5e5 } },
    '"rope_theta" is 10000, but "rope_parameters.rope_theta" is 500000',
  ],
  [
    "two different scalings",
    "llama",
    { rope_scaling: { type: "linear", factor: 2 }, rope_parameters: { rope_type: "linear", factor: 4 } },
    '"rope_scaling.factor" is 2, but "rope_parameters.factor" is 4',
  ],
  [
    "a rotation for each layer type",
    "qwen3",
    { rope_parameters: { full_attention: { rope_theta: 1 }, sliding_attention: { rope_theta: 2 } } },
    '"rope_parameters.full_attention" and "rope_parameters.sliding_attention" differ',
  ],
  [
    "a partial rotation that the architecture does not have",
    "llama",
    { partial_rotary_factor: 0.5 },
    '"partial_rotary_factor" is 0.5, but a llama model rotates whole heads',
  ],
  [
    "more than a whole rotation",
    "phi3",
    { partial_rotary_factor: 1.5 },
    '"partial_rotary_factor" 1.5 exceeds 1',
  ],
  [
    "an odd rotation",
    "phi3",
    { partial_rotary_factor: 0.45 },
    "the rotated part of a head is 7 of 16 wide, but must be even and not 0",
  ],
  [
    "an odd head",
    "llama",
    { head_dim: 15 },
    "the rotated part of a head is 15 of 15 wide, but must be even and not 0",
  ],
  [
    "linear scaling without a factor",
    "llama",
    { rope_scaling: { type: "linear" } },
    '"rope_scaling.factor" is missing',
  ],
  [
    "llama3 scaling without a length",
    "llama",
    { rope_scaling: { type: "llama3", ...llama3, original_max_position_embeddings: undefined } },
    '"rope_scaling.original_max_position_embeddings" is missing',
  ],
  [
    "llama3 scaling with an empty band",
    "llama",
    { rope_scaling: { type: "llama3", ...llama3, high_freq_factor: 1 } },
    '"rope_scaling.high_freq_factor" 1 does not exceed "rope_scaling.low_freq_factor" 1',
  ],
  [
    "too few factors",
    "phi3",
    { rope_scaling: { ...longrope, long_factor: [1, 2] } },
    '"rope_scaling.long_factor" has 2 entries, but half of the rotated width is 8',
  ],
  [
    "a factor of 0",
    "phi3",
    { rope_scaling: { ...longrope, short_factor: [0, ...eight.slice(1)] } },
    '"rope_scaling.short_factor" has 0, but must be positive',
  ],
  [
    "factors that are no numbers",
    "phi3",
    { rope_scaling: { ...longrope, short_factor: "1" } },
    '"rope_scaling.short_factor" must be a list of finite numbers, found "1"',
  ],
  [
    "longrope with no stretch to be found",
    "llama",
    { rope_scaling: longrope },
    '"rope_scaling.factor" is missing',
  ],
  [
    "two different stretches",
    "phi3",
    { rope_scaling: { ...longrope, factor: 3 }, original_max_position_embeddings: 256 },
    '"rope_scaling.factor" is 3, but "max_position_embeddings" 1024 / "original_max_position_embeddings" 256 is 4',
  ],
  [
    "a list for an object",
    "llama",
    { rope_scaling: [] },
    '"rope_scaling" must be an object, found a list of 0',
  ],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => specOf(architecture, members), {
      name: "FormatError",
      message: `"config.json": ${problem}`,
    });
  });
}
