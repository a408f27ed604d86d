import { parseConfig } from "../../src/model/config.ts";

type Members = Readonly<Record<string, unknown>>;

/** The keys that every architecture must have. */
export const sizes = {
  hidden_size: 128,
  intermediate_size: 352,
  num_hidden_layers: 3,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  vocab_size: 512,
  max_position_embeddings: 1024,
};

/** Parses a config of these members on top of `sizes`; a member that is undefined is left out. */
export function specOf(model_type: string, members: Members = {}) {
  return parseConfig(new TextEncoder().encode(JSON.stringify({ model_type, ...sizes, ...members })));
}
