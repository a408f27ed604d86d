import assert from "node:assert/strict";
import { test } from "node:test";

import { specOf } from "./configs.ts";

const no = undefined;

for (const [name, architecture, members, expected] of [
  ["Mistral's default", "mistral", {}, [4096, 4096, 4096]],
  ["Mistral's null", "mistral", { sliding_window: null }, [no, no, no]],
  ["Mistral's number", "mistral", { sliding_window: 32 }, [32, 32, 32]],
  ["Phi-3's default", "phi3", {}, [no, no, no]],
  ["Phi-3's number", "phi3", { sliding_window: 2047 }, [2047, 2047, 2047]],
  ["a number that Llama ignores", "llama", { sliding_window: 32 }, [no, no, no]],
  ["a number that Qwen2 does not use", "qwen2", { sliding_window: 32 }, [no, no, no]],
  [
    "Qwen2's window from a layer on",
    "qwen2",
    { use_sliding_window: true, sliding_window: 32, max_window_layers: 1 },
    [no, 32, 32],
  ],
  ["Qwen2's default of layer 28", "qwen2", { use_sliding_window: true, sliding_window: 32 }, [no, no, no]],
  ["Qwen3's default of 4096", "qwen3", { use_sliding_window: true, max_window_layers: 2 }, [no, no, 4096]],
  [
    "layer types before max_window_layers",
    "qwen3",
    {
      use_sliding_window: true,
      sliding_window: 64,
      max_window_layers: 0,
      layer_types: ["full_attention", "sliding_attention", "full_attention"],
    },
    [no, 64, no],
  ],
] as const) {
  test(`reads ${name}`, () => {
    assert.deepEqual(specOf(architecture, members).slidingWindow, expected);
  });
}

for (const [name, members, problem] of [
  [
    "a number of layer types that is not the number of layers",
    { layer_types: ["full_attention"] },
    '"layer_types" has 1 entries, but "num_hidden_layers" is 3',
  ],
  [
    "an unknown layer type",
    { layer_types: ["full_attention", "chunked_attention", "full_attention"] },
    '"layer_types" has "chunked_attention", but only "full_attention" and "sliding_attention" are supported',
  ],
  [
    "sliding layers without a window",
    { layer_types: ["sliding_attention", "full_attention", "full_attention"], sliding_window: 32 },
    '"layer_types" has "sliding_attention", but no "sliding_window" is set or in use',
  ],
  [
    "a window of 0",
    { use_sliding_window: true, sliding_window: 0 },
    '"sliding_window" must be an integer of at least 1, found 0',
  ],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => specOf("qwen2", members), {
      name: "FormatError",
      message: `"config.json": ${problem}`,
    });
  });
}
