import type {
  ActivationFormat,
  Activations,
  Constants,
  Device,
  Precision,
  Weights,
} from "../device/device.ts";
import type { ModelSpec } from "./config.ts";
import type { RopeFrequencies } from "./rope.ts";
import { ropeTables } from "./rope.ts";
import type { Layer } from "./weights.ts";

/** Tokens of one or more independent sequences, one after another, and what their positions need. */
export type Batch = {
  readonly ids: Int32Array;
  readonly sequenceLengths: Int32Array;
  /** Of each token in its sequence. */
  readonly positions: Int32Array;
  readonly cos: Constants;
  readonly sin: Constants;
};

/** How linear layers of the decoder compute. */
export type Arithmetic = { readonly precision: Precision; readonly activations: ActivationFormat };

/** Joins sequences into a batch; free it with {@link freeBatch}. */
export function makeBatch(
  device: Device,
  spec: ModelSpec,
  sequences: readonly Int32Array[],
  frequencies: RopeFrequencies,
): Batch {
  const lengths = sequences.map((ids) => ids.length);
  const longest = Math.max(...lengths);
  const { cos, sin } = ropeTables(spec.rope, longest, frequencies);
  return {
    ids: Int32Array.from(sequences.flatMap((ids) => [...ids])),
    sequenceLengths: Int32Array.from(lengths),
    positions: Int32Array.from(lengths.flatMap((length) => Array.from({ length }, (_, i) => i))),
    cos: device.constants(cos),
    sin: device.constants(sin),
  };
}

export function freeBatch(device: Device, { cos, sin }: Batch): void {
  device.free(cos, sin);
}

/** Activations that one layer needs beside its input; reused by all layers and precisions of a batch. */
export type Scratch = {
  readonly normed: Activations;
  readonly qkv: Activations;
  readonly attended: Activations;
  readonly projected: Activations;
  readonly gateUp: Activations;
};

export function makeScratch(device: Device, spec: ModelSpec, tokens: number): Scratch {
  const { hiddenSize, headDim, heads, kvHeads, intermediateSize } = spec;
  return {
    normed: device.allocate(tokens, hiddenSize),
    qkv: device.allocate(tokens, (heads + 2 * kvHeads) * headDim),
    attended: device.allocate(tokens, heads * headDim),
    projected: device.allocate(tokens, hiddenSize),
    gateUp: device.allocate(tokens, 2 * intermediateSize),
  };
}

export function freeScratch(device: Device, scratch: Scratch): void {
  device.free(...Object.values(scratch));
}

/** Bytes of {@link Scratch} that a token takes, in FP32. */
export function scratchBytesPerToken(spec: ModelSpec): number {
  const { hiddenSize, headDim, heads, kvHeads, intermediateSize } = spec;
  return 4 * (2 * hiddenSize + (2 * heads + 2 * kvHeads) * headDim + 2 * intermediateSize);
}

/** x = one decoder layer of x, [tokens, hidden]; queued on the device. */
export function runLayer(
  device: Device,
  spec: ModelSpec,
  index: number,
  layer: Layer,
  arithmetic: Arithmetic,
  batch: Batch,
  x: Activations,
  scratch: Scratch,
): void {
  const linear = (name: string, input: Activations, out: Activations): void => {
    const { in: choose, bias } = layer.linear(name);
    const { weights, precision } = choose(arithmetic.precision);
    const activations =
      precision === "nested-fp8" || precision === "fp8" ? arithmetic.activations : undefined;
    device.linear(input, weights, out, { precision, bias, activations });
  };
  attend(device, spec, index, layer, batch, x, scratch, linear);
  device.rmsNorm(x, layer.norm("post_attention_layernorm"), spec.rmsNormEps, scratch.normed);
  const inner = spec.intermediateSize;
  const gate = device.columns(scratch.gateUp, 0, inner);
  const up = device.columns(scratch.gateUp, inner, inner);
  if (spec.fusedProjections) {
    linear("mlp.gate_up_proj", scratch.normed, scratch.gateUp);
  } else {
    linear("mlp.gate_proj", scratch.normed, gate);
    linear("mlp.up_proj", scratch.normed, up);
  }
  device.siluMul(gate, up, gate);
  linear("mlp.down_proj", gate, scratch.projected);
  device.add(x, scratch.projected);
}

/** The attention half of a layer. */
function attend(
  device: Device,
  spec: ModelSpec,
  index: number,
  layer: Layer,
  batch: Batch,
  x: Activations,
  scratch: Scratch,
  linear: (name: string, input: Activations, out: Activations) => void,
): void {
  const { heads, kvHeads, headDim, rope } = spec;
  const q = device.columns(scratch.qkv, 0, heads * headDim);
  const k = device.columns(scratch.qkv, heads * headDim, kvHeads * headDim);
  const v = device.columns(scratch.qkv, (heads + kvHeads) * headDim, kvHeads * headDim);
  device.rmsNorm(x, layer.norm("input_layernorm"), spec.rmsNormEps, scratch.normed);
  if (spec.fusedProjections) {
    linear("self_attn.qkv_proj", scratch.normed, scratch.qkv);
  } else {
    linear("self_attn.q_proj", scratch.normed, q);
    linear("self_attn.k_proj", scratch.normed, k);
    linear("self_attn.v_proj", scratch.normed, v);
  }
  if (spec.qkNorm) {
    device.rmsNorm(q, layer.norm("self_attn.q_norm"), spec.rmsNormEps, q);
    device.rmsNorm(k, layer.norm("self_attn.k_norm"), spec.rmsNormEps, k);
  }
  for (const part of [q, k])
    device.rope(part, headDim, rope.rotaryDim, batch.cos, batch.sin, batch.positions);
  device.attention(q, k, v, scratch.attended, {
    sequenceLengths: batch.sequenceLengths,
    heads,
    kvHeads,
    headDim,
    scale: headDim ** -0.5,
    slidingWindow: spec.slidingWindow[index],
  });
  linear("self_attn.o_proj", scratch.attended, scratch.projected);
  device.add(x, scratch.projected);
}

/** Logits of some rows of the last hidden state: final norm, then the head. */
export function computeLogits(
  device: Device,
  spec: ModelSpec,
  finalNorm: Constants,
  head: Weights,
  hidden: Activations,
  normed: Activations,
  logits: Activations,
): void {
  device.rmsNorm(hidden, finalNorm, spec.rmsNormEps, normed);
  device.linear(normed, head, logits, { precision: "fp16" });
}
