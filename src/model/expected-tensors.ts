import type { ModelSpec } from "./config.ts";

/** A tensor that the decoder asks for; `shape` is [rows = outputs, columns = inputs] for a projection. */
export type ExpectedTensor = { readonly name: string; readonly shape: readonly number[] };

/** Every tensor of a model under its name in transformers, in the order of use. */
export function expectedTensors(spec: ModelSpec): ExpectedTensor[] {
  const { hiddenSize, vocabSize } = spec;
  const tensors: ExpectedTensor[] = [{ name: "model.embed_tokens.weight", shape: [vocabSize, hiddenSize] }];
  for (let layer = 0; layer < spec.layers; layer++) tensors.push(...layerTensors(spec, layer));
  tensors.push({ name: "model.norm.weight", shape: [hiddenSize] });
  if (!spec.tieWordEmbeddings) tensors.push({ name: "lm_head.weight", shape: [vocabSize, hiddenSize] });
  return tensors;
}

/** The tensors of one layer. */
export function layerTensors(spec: ModelSpec, layer: number): ExpectedTensor[] {
  const prefix = `model.layers.${layer}.`;
  const norm = (name: string, width: number) => ({ name: `${prefix}${name}.weight`, shape: [width] });
  const projection = (name: string, outputs: number, inputs: number, bias: boolean) => [
    { name: `${prefix}${name}.weight`, shape: [outputs, inputs] },
    ...(bias ? [{ name: `${prefix}${name}.bias`, shape: [outputs] }] : []),
  ];
  const { hiddenSize: hidden, intermediateSize: inner, headDim, attentionBias, mlpBias } = spec;
  const queries = spec.heads * headDim;
  const keys = spec.kvHeads * headDim;
  return [
    norm("input_layernorm", hidden),
    ...(spec.fusedProjections
      ? projection("self_attn.qkv_proj", queries + 2 * keys, hidden, attentionBias)
      : [
          ...projection("self_attn.q_proj", queries, hidden, attentionBias),
          ...projection("self_attn.k_proj", keys, hidden, attentionBias),
          ...projection("self_attn.v_proj", keys, hidden, attentionBias),
        ]),
    ...(spec.qkNorm ? [norm("self_attn.q_norm", headDim), norm("self_attn.k_norm", headDim)] : []),
    ...projection("self_attn.o_proj", hidden, queries, spec.outputBias),
    norm("post_attention_layernorm", hidden),
    ...(spec.fusedProjections
      ? projection("mlp.gate_up_proj", 2 * inner, hidden, mlpBias)
      : [
          ...projection("mlp.gate_proj", inner, hidden, mlpBias),
          ...projection("mlp.up_proj", inner, hidden, mlpBias),
        ]),
    ...projection("mlp.down_proj", hidden, inner, mlpBias),
  ];
}
