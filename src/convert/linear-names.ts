import type { Dtype } from "../safetensors/dtype.ts";

/** What the rules of FORMAT.md §5 look at: a tensor as its header describes it. */
export type NamedTensor = { readonly name: string; readonly dtype: Dtype; readonly shape: readonly number[] };

const linearLeaves = new Set(
  (
    "q_proj k_proj v_proj o_proj qkv_proj gate_proj up_proj down_proj gate_up_proj w1 w2 w3 fc1 fc2 out_proj " +
    "query key value q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj"
  ).split(" "),
);

// A linear leaf below one of these is a head, a router or a convolution, which engines do not run in FP8.
const neverBelow =
  /^(lm_head|score|classifier|classification_head|cls|qa_outputs|pooler|router|gate|conv\d*d?|.*_conv|.*_router|.*_classifier)$/;

const otherModality = /^(vision_tower|vision_model|visual|multi_modal_projector|mm_projector|audio_tower)$/;

const embeddingOrHead =
  /^(lm_head|embed_out|output_layer|wte|wpe|shared|relative_attention_bias|.*embeddings?|embed|embed_.*|.*_embed)$/;

/** `a.b.weight` -> `a.b`; undefined for any other tensor. */
export function moduleOf(name: string): string | undefined {
  return name.endsWith(".weight") ? name.slice(0, -".weight".length) : undefined;
}

/** The last component of a module path. */
export function leafOf(module: string): string {
  return module.slice(module.lastIndexOf(".") + 1);
}

/** Rank 2, not empty and named `.weight`: the only tensors that can be split at all. */
export function isMatrixWeight(tensor: NamedTensor): boolean {
  return tensor.shape.length === 2 && tensor.shape.every((n) => n > 0) && moduleOf(tensor.name) !== undefined;
}

/** The weight of a linear projection of the language model, by its name (FORMAT.md §5 rule 2). */
export function isLinearName(name: string): boolean {
  const module = moduleOf(name);
  if (module === undefined) return false;
  const leaf = leafOf(module);
  const parents = module.split(".").slice(0, -1);
  if (parents.some((part) => neverBelow.test(part) || otherModality.test(part))) return false;
  if (leaf === "dense") return parents.some((part) => /attn|attention|mlp/.test(part));
  return linearLeaves.has(leaf) || leaf.startsWith("in_proj_");
}

/** Embeddings and output heads, which `--include` may never name. */
export function isEmbeddingOrHead(name: string): boolean {
  const module = moduleOf(name);
  if (module === undefined) return false;
  return module === "output" || module.split(".").includes("lm_head") || embeddingOrHead.test(leafOf(module));
}

/** Experts of a layer fused into one rank-3 tensor, e.g. `model.layers.0.mlp.experts.gate_up_proj`. */
export function isFusedExperts(tensor: NamedTensor): boolean {
  return tensor.shape.length === 3 && tensor.name.includes(".experts.");
}
