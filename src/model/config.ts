import { quote } from "../safetensors/quote.ts";

import { JsonFields } from "./json-fields.ts";
import { type RopeSpec, readRope } from "./rope-config.ts";
import { readSlidingWindow } from "./sliding-window.ts";

export type Architecture = "llama" | "mistral" | "qwen2" | "qwen3" | "phi3";

/** A decoder-only transformer as its config.json describes it, with every default resolved. */
export type ModelSpec = {
  readonly architecture: Architecture;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Divides `heads`. */
  readonly kvHeads: number;
  /** Width of one head; `heads * headDim` need not be `hiddenSize`. */
  readonly headDim: number;
  readonly vocabSize: number;
  /** Longest sequence the model was made for, in ids. */
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  /** The logits are taken with the embedding; there is no lm_head. */
  readonly tieWordEmbeddings: boolean;
  /** Bias on q, k and v. */
  readonly attentionBias: boolean;
  /** Bias on o. */
  readonly outputBias: boolean;
  /** Bias on gate, up and down. */
  readonly mlpBias: boolean;
  /** RMS norm over each head of q and of k, before the rotation. */
  readonly qkNorm: boolean;
  /** qkv_proj (rows q, k, v) and gate_up_proj (rows gate, up) in place of five tensors. */
  readonly fusedProjections: boolean;
  /** For each layer how many keys a query sees, its own the last (key > query - window); undefined: all before it. */
  readonly slidingWindow: readonly (number | undefined)[];
  readonly rope: RopeSpec;
  readonly bosId: number | undefined;
  /** Any of these ends a text. */
  readonly eosIds: readonly number[];
};

/**
 * Reads a Hugging Face config.json, in the spelling of transformers 4 or 5, with the defaults of transformers.
 * @throws FormatError when it is not JSON, names an architecture, activation or rotary scaling that is not
 *   supported, lacks a size, or contradicts itself
 */
export function parseConfig(bytes: Uint8Array, file = "config.json"): ModelSpec {
  const config = JsonFields.parse(bytes, file, "python");
  const architecture = readArchitecture(config);
  const defaults = classDefaults[architecture];
  const activation = config.string("hidden_act") ?? "silu";
  if (activation !== "silu") {
    config.fail(`"hidden_act" is ${quote(activation)}, but only "silu" is supported`);
  }
  const layers = config.required("num_hidden_layers", config.positiveInteger("num_hidden_layers", maxLayers));
  const size = (key: string) => config.required(key, config.positiveInteger(key));
  const dims = {
    ...readLayerSizes(config, architecture),
    vocabSize: size("vocab_size"),
    maxPositions: size("max_position_embeddings"),
  };
  return {
    architecture,
    ...dims,
    layers,
    rmsNormEps: config.positiveNumber("rms_norm_eps") ?? defaults.rmsNormEps,
    tieWordEmbeddings: config.boolean("tie_word_embeddings") ?? false,
    ...readBiases(config, architecture),
    qkNorm: architecture === "qwen3",
    fusedProjections: architecture === "phi3",
    slidingWindow: readSlidingWindow(config, architecture, layers),
    rope: readRope(config, architecture, dims.headDim, dims.maxPositions),
    bosId: config.integer("bos_token_id"),
    eosIds: readEos(config),
  };
}

/** Far above any model; keeps a damaged file from making lists of a billion layers. */
const maxLayers = 4096;

/** What the configuration classes of transformers take for a key that is absent (null is another matter). */
const classDefaults = {
  llama: { kvHeads: undefined, headDim: undefined, rmsNormEps: 1e-6 },
  mistral: { kvHeads: 8, headDim: undefined, rmsNormEps: 1e-6 },
  qwen2: { kvHeads: 32, headDim: undefined, rmsNormEps: 1e-6 },
  qwen3: { kvHeads: 32, headDim: 128, rmsNormEps: 1e-6 },
  phi3: { kvHeads: undefined, headDim: undefined, rmsNormEps: 1e-5 },
} as const;

export type LayerSizes = Pick<ModelSpec, "hiddenSize" | "intermediateSize" | "heads" | "kvHeads" | "headDim">;

/**
 * What of a config.json decides the shapes of the linear layers, and nothing else of it.
 *
 * @throws FormatError when it is not JSON, names an architecture that is not supported, or lacks a size
 */
export function parseLayerSizes(bytes: Uint8Array, file: string): LayerSizes {
  const config = JsonFields.parse(bytes, file, "python");
  return readLayerSizes(config, readArchitecture(config));
}

function readArchitecture(config: JsonFields): Architecture {
  const supported = Object.keys(classDefaults).join(", ");
  const name = config.required("model_type", config.string("model_type"));
  if (!isArchitecture(name)) {
    config.fail(`model_type ${quote(name)} is not supported`, `nestedfp runs models of type ${supported}`);
  }
  const classes = config.strings("architectures") ?? [];
  if (classes.length > 0 && !classes.some((entry) => entry.endsWith("ForCausalLM"))) {
    config.fail(
      `"architectures" is ${classes.map(quote).join(", ")}, which is no causal language model`,
      "a perplexity needs a model with a language modelling head (...ForCausalLM)",
    );
  }
  return name;
}

function isArchitecture(name: string): name is Architecture {
  return Object.hasOwn(classDefaults, name);
}

function readLayerSizes(config: JsonFields, architecture: Architecture): LayerSizes {
  const size = (key: string) => config.required(key, config.positiveInteger(key));
  const defaults = classDefaults[architecture];
  const hiddenSize = size("hidden_size");
  const heads = size("num_attention_heads");
  const kvHeads =
    config.positiveInteger("num_key_value_heads") ??
    (config.has("num_key_value_heads") ? heads : (defaults.kvHeads ?? heads));
  if (heads % kvHeads !== 0) {
    config.fail(`"num_attention_heads" ${heads} is not a multiple of "num_key_value_heads" ${kvHeads}`);
  }
  const headDim =
    config.positiveInteger("head_dim") ??
    (config.has("head_dim") ? undefined : defaults.headDim) ??
    hiddenSize / heads;
  if (!Number.isInteger(headDim)) {
    config.fail(
      `"hidden_size" ${hiddenSize} is not a multiple of "num_attention_heads" ${heads}, and there is no "head_dim"`,
    );
  }
  return {
    hiddenSize,
    intermediateSize: size("intermediate_size"),
    heads,
    kvHeads,
    headDim,
  };
}

/** Mistral and Phi-3 have no biases and Qwen2 always has three, whatever the file says. */
function readBiases(config: JsonFields, architecture: Architecture) {
  const asked = config.boolean("attention_bias") ?? false;
  const follows = architecture === "llama" || architecture === "qwen3";
  return {
    attentionBias: architecture === "qwen2" || (follows && asked),
    outputBias: follows && asked,
    mlpBias: architecture === "llama" && (config.boolean("mlp_bias") ?? false),
  };
}

function readEos(config: JsonFields): number[] {
  if (!Array.isArray(config.value("eos_token_id"))) {
    const id = config.integer("eos_token_id");
    return id === undefined ? [] : [id];
  }
  const ids = config.numbers("eos_token_id") ?? [];
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0) config.fail(`"eos_token_id" has ${id}, which is no token id`);
  }
  return ids;
}
