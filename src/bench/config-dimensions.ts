import { parseLayerSizes } from "../model/config.ts";
import { JsonFields } from "../model/json-fields.ts";
import type { LayerDimensions } from "./shapes.ts";

/** Models whose MLP is that of separate experts, with the key of an expert's width; nestedfp only times these. */
const expertWidths: Readonly<Record<string, string>> = {
  mixtral: "intermediate_size",
  qwen3_moe: "moe_intermediate_size",
};

/**
 * What of a config.json decides the shapes of the linear layers.
 *
 * @param file its path, for errors. @param name of the model
 * @throws FormatError when it is damaged or of an architecture that is not supported
 */
export function dimensionsOfConfig(bytes: Uint8Array, file: string, name: string): LayerDimensions {
  const config = JsonFields.parse(bytes, file);
  const type = config.string("model_type") ?? "";
  const widthKey = Object.hasOwn(expertWidths, type) ? expertWidths[type] : undefined;
  if (widthKey === undefined) {
    return { name, ...parseLayerSizes(bytes, file) };
  }
  const size = (key: string): number => config.required(key, config.positiveInteger(key));
  const [hiddenSize, heads] = [size("hidden_size"), size("num_attention_heads")];
  const headDim = config.positiveInteger("head_dim") ?? hiddenSize / heads;
  if (!Number.isInteger(headDim)) {
    config.fail(`"hidden_size" ${hiddenSize} is not a multiple of "num_attention_heads" ${heads}`);
  }
  const kvHeads = size("num_key_value_heads");
  return { name, hiddenSize, intermediateSize: size(widthKey), heads, kvHeads, headDim, experts: true };
}
