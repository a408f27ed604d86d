import { quote } from "../safetensors/quote.ts";

import type { Architecture } from "./config.ts";
import type { JsonFields } from "./json-fields.ts";

/**
 * The attention window of each layer, in keys including the query's own; undefined is unlimited.
 * Which keys count differs by architecture, as in transformers: Mistral and Phi-3 give every layer
 * `sliding_window`; Qwen2 and Qwen3 only with `use_sliding_window`, and then the layers from `max_window_layers`
 * on, or those that `layer_types` names; Llama never.
 * @throws FormatError when the keys contradict each other or the number of layers
 */
export function readSlidingWindow(
  config: JsonFields,
  architecture: Architecture,
  layers: number,
): (number | undefined)[] {
  switch (architecture) {
    case "llama":
      return new Array(layers).fill(undefined);
    case "mistral":
    case "phi3":
      return new Array(layers).fill(readWindow(config, architecture));
    case "qwen2":
    case "qwen3": {
      const used = config.boolean("use_sliding_window") ?? false;
      return byLayerType(config, layers, used ? readWindow(config, architecture) : undefined);
    }
  }
}

/** Absent is the class's default, null is no window. */
function readWindow(config: JsonFields, architecture: Architecture): number | undefined {
  const absent = architecture === "phi3" || config.has("sliding_window") ? undefined : 4096;
  return config.positiveInteger("sliding_window") ?? absent;
}

function byLayerType(config: JsonFields, layers: number, window: number | undefined): (number | undefined)[] {
  const types = config.strings("layer_types");
  if (types === undefined) {
    const first = config.integer("max_window_layers") ?? 28;
    return Array.from({ length: layers }, (_, layer) => (layer >= first ? window : undefined));
  }
  if (types.length !== layers) {
    config.fail(`"layer_types" has ${types.length} entries, but "num_hidden_layers" is ${layers}`);
  }
  return types.map((type) => {
    if (type === "full_attention") return undefined;
    if (type !== "sliding_attention") {
      config.fail(
        `"layer_types" has ${quote(type)}, but only "full_attention" and "sliding_attention" are supported`,
      );
    }
    return (
      window ?? config.fail(`"layer_types" has "sliding_attention", but no "sliding_window" is set or in use`)
    );
  });
}
