import { UsageError } from "../errors.ts";
import type { LayerDimensions } from "./shapes.ts";

/** hidden_size, intermediate_size, heads, kv heads, head_dim of each model's config.json. */
const dimensions: Readonly<Record<string, readonly [number, number, number, number, number]>> = {
  "llama-3.1-8b": [4096, 14336, 32, 8, 128],
  "mistral-nemo-12b": [5120, 14336, 32, 8, 128],
  "phi-4": [5120, 17920, 40, 10, 128],
  "mistral-small-24b": [5120, 32768, 32, 8, 128],
  "llama-3.1-70b": [8192, 28672, 64, 8, 128],
  "qwen3-8b": [4096, 12288, 32, 8, 128],
  "qwen3-32b": [5120, 25600, 64, 8, 128],
  "llama-3.2-1b": [2048, 8192, 32, 8, 64],
  "llama-3.2-3b": [3072, 8192, 24, 8, 128],
  "qwen2.5-0.5b": [896, 4864, 14, 2, 64],
  "qwen2.5-1.5b": [1536, 8960, 12, 2, 128],
  "qwen2.5-3b": [2048, 11008, 16, 2, 128],
  "qwen2.5-7b": [3584, 18944, 28, 4, 128],
  "qwen2.5-14b": [5120, 13824, 40, 8, 128],
  "qwen2.5-32b": [5120, 27648, 40, 8, 128],
  "qwen2.5-72b": [8192, 29568, 64, 8, 128],
  "mixtral-8x7b": [4096, 14336, 32, 8, 128],
};

/** Their MLP is that of each expert. */
const withExperts: readonly string[] = ["mixtral-8x7b"];

/** Several models under one name. */
const groups: Readonly<Record<string, readonly string[]>> = {
  /** The seven models, 24 shapes, on which the marks are measured. */
  marks: [
    "llama-3.1-8b",
    "mistral-nemo-12b",
    "phi-4",
    "mistral-small-24b",
    "llama-3.1-70b",
    "qwen3-8b",
    "qwen3-32b",
  ],
};

export const presetNames: readonly string[] = [...Object.keys(groups), ...Object.keys(dimensions)];

/**
 * The models of a preset.
 * @throws UsageError for a name that is not among {@link presetNames}
 */
export function presetModels(name: string): LayerDimensions[] {
  const members = Object.hasOwn(groups, name) ? (groups[name] ?? []) : [name];
  return members.map((model) => {
    const sizes = Object.hasOwn(dimensions, model) ? dimensions[model] : undefined;
    if (sizes === undefined) {
      throw new UsageError(`--preset ${JSON.stringify(name)} is not known`, {
        hint: `use one of ${presetNames.join(", ")}`,
      });
    }
    const [hiddenSize, intermediateSize, heads, kvHeads, headDim] = sizes;
    const experts = withExperts.includes(model);
    return { name: model, hiddenSize, intermediateSize, heads, kvHeads, headDim, experts };
  });
}
