/**
 * A Llama decoder in double precision and plain loops: the oracle for short sequences. Written from the definition
 * in transformers' modeling_llama.py, without src/model.
 */
export type SlowLlama = {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly eps: number;
  readonly theta: number;
  /** Row-major values by tensor name. */
  readonly tensor: (name: string) => Float64Array;
};

type Matrix = Float64Array[];

/** -ln p(ids[t + 1] | ids[0..t]) for every t. */
export function slowNll(model: SlowLlama, ids: readonly number[]): number[] {
  const embedding = model.tensor("model.embed_tokens.weight");
  const hidden = model.tensor("model.norm.weight").length;
  let x: Matrix = ids.map((id) => embedding.slice(id * hidden, (id + 1) * hidden));
  for (let layer = 0; layer < model.layers; layer++) x = slowLayer(model, layer, x);
  const normed = rmsNorm(x, model.tensor("model.norm.weight"), model.eps);
  const logits = linear(normed, model.tensor("lm_head.weight"));
  return logits.slice(0, -1).map((row, t) => {
    const largest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0);
    return largest + Math.log(sum) - (row[ids[t + 1] ?? 0] ?? Number.NaN);
  });
}

function slowLayer(model: SlowLlama, layer: number, x: Matrix): Matrix {
  const weight = (name: string): Float64Array => model.tensor(`model.layers.${layer}.${name}.weight`);
  const normed = rmsNorm(x, weight("input_layernorm"), model.eps);
  const q = rotate(model, linear(normed, weight("self_attn.q_proj")));
  const k = rotate(model, linear(normed, weight("self_attn.k_proj")));
  const v = linear(normed, weight("self_attn.v_proj"));
  const afterAttention = add(x, linear(attention(model, q, k, v), weight("self_attn.o_proj")));
  const inner = rmsNorm(afterAttention, weight("post_attention_layernorm"), model.eps);
  const gate = linear(inner, weight("mlp.gate_proj"));
  const up = linear(inner, weight("mlp.up_proj"));
  const product = gate.map((row, t) => row.map((g, i) => (g / (1 + Math.exp(-g))) * (up[t]?.[i] ?? 0)));
  return add(afterAttention, linear(product, weight("mlp.down_proj")));
}

function attention({ heads, kvHeads, headDim }: SlowLlama, q: Matrix, k: Matrix, v: Matrix): Matrix {
  return q.map((row, t) => {
    const out = new Float64Array(heads * headDim);
    for (let head = 0; head < heads; head++) {
      const kv = Math.floor((head * kvHeads) / heads) * headDim;
      const scores: number[] = [];
      for (let s = 0; s <= t; s++) {
        let dot = 0;
        for (let i = 0; i < headDim; i++) dot += (row[head * headDim + i] ?? 0) * (k[s]?.[kv + i] ?? 0);
        scores.push(dot / Math.sqrt(headDim));
      }
      const largest = Math.max(...scores);
      const powers = scores.map((score) => Math.exp(score - largest));
      const sum = powers.reduce((a, b) => a + b, 0);
      for (let s = 0; s <= t; s++) {
        for (let i = 0; i < headDim; i++) {
          const at = head * headDim + i;
          out[at] = (out[at] ?? 0) + ((powers[s] ?? 0) / sum) * (v[s]?.[kv + i] ?? 0);
        }
      }
    }
    return out;
  });
}

/** rotate_half: pair (i, i + headDim / 2) of each head turns by position * theta^(-2i / headDim). */
function rotate({ headDim, theta }: SlowLlama, x: Matrix): Matrix {
  const half = headDim / 2;
  return x.map((row, position) =>
    row.map((value, at) => {
      const i = at % headDim;
      const angle = position * theta ** ((-2 * (i % half)) / headDim);
      const partner = i < half ? -(row[at + half] ?? 0) : (row[at - half] ?? 0);
      return value * Math.cos(angle) + partner * Math.sin(angle);
    }),
  );
}

function rmsNorm(x: Matrix, weight: Float64Array, eps: number): Matrix {
  return x.map((row) => {
    const meanSquare = row.reduce((sum, value) => sum + value * value, 0) / row.length;
    return row.map((value, i) => (value / Math.sqrt(meanSquare + eps)) * (weight[i] ?? 0));
  });
}

/** x W^T, W row-major [outputs, inputs]. */
function linear(x: Matrix, weight: Float64Array): Matrix {
  return x.map((row) => {
    const out = new Float64Array(weight.length / row.length);
    for (let n = 0; n < out.length; n++) {
      let sum = 0;
      for (let k = 0; k < row.length; k++) sum += (row[k] ?? 0) * (weight[n * row.length + k] ?? 0);
      out[n] = sum;
    }
    return out;
  });
}

function add(a: Matrix, b: Matrix): Matrix {
  return a.map((row, t) => row.map((value, i) => value + (b[t]?.[i] ?? 0)));
}
