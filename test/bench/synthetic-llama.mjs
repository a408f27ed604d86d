// A checkpoint of a Llama's shape with normally distributed FP16 weights, a shard for each layer.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 2048,
  intermediate_size: 8192,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  vocab_size: 8192,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
  hidden_act: "silu",
  torch_dtype: "float16",
};

const hidden = config.hidden_size;
const inner = config.intermediate_size;
const queries = config.num_attention_heads * config.head_dim;
const keys = config.num_key_value_heads * config.head_dim;
const layer = {
  "input_layernorm.weight": [hidden],
  "self_attn.q_proj.weight": [queries, hidden],
  "self_attn.k_proj.weight": [keys, hidden],
  "self_attn.v_proj.weight": [keys, hidden],
  "self_attn.o_proj.weight": [hidden, queries],
  "post_attention_layernorm.weight": [hidden],
  "mlp.gate_proj.weight": [inner, hidden],
  "mlp.up_proj.weight": [inner, hidden],
  "mlp.down_proj.weight": [hidden, inner],
};

const product = (shape) => shape.reduce((a, b) => a * b, 1);
const layerBytes =
  2 *
  Object.values(layer)
    .map(product)
    .reduce((a, b) => a + b);

/** Writes the model and returns the number of its layers: as many as make up `bytes`. */
export function writeSyntheticLlama(directory, bytes) {
  const layers = Math.max(1, Math.round(bytes / layerBytes));
  mkdirSync(directory, { recursive: true });
  const normals = normalHalves(4 * 2 ** 20);
  const weightMap = {};
  const shards = [
    { "model.embed_tokens.weight": [config.vocab_size, hidden] },
    ...Array.from({ length: layers }, (_, index) =>
      Object.fromEntries(
        Object.entries(layer).map(([name, shape]) => [`model.layers.${index}.${name}`, shape]),
      ),
    ),
    { "model.norm.weight": [hidden], "lm_head.weight": [config.vocab_size, hidden] },
  ];
  for (const [index, tensors] of shards.entries()) {
    const file = `model-${pad(index + 1)}-of-${pad(shards.length)}.safetensors`;
    writeShard(join(directory, file), tensors, normals, index);
    for (const name of Object.keys(tensors)) weightMap[name] = file;
  }
  writeFileSync(
    join(directory, "model.safetensors.index.json"),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
  writeFileSync(join(directory, "config.json"), JSON.stringify({ ...config, num_hidden_layers: layers }));
  return layers;
}

function writeShard(path, tensors, normals, seed) {
  const header = {};
  let end = 0;
  for (const [name, shape] of Object.entries(tensors)) {
    const begin = end;
    end += 2 * product(shape);
    header[name] = { dtype: "F16", shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const fd = openSync(path, "w");
  writeSync(fd, length);
  writeSync(fd, json);
  for (const [index, shape] of Object.values(tensors).entries()) {
    if (shape.length === 1)
      writeSync(fd, Buffer.from(new Uint16Array(shape[0]).fill(0x3c00).buffer)); // 1.0
    else writeNormals(fd, 2 * product(shape), normals, 31 * seed + index);
  }
  closeSync(fd);
}

/** Each tensor begins at another place of the same numbers. */
function writeNormals(fd, bytes, normals, seed) {
  for (let written = 0; written < bytes; ) {
    const start = 2 * (((seed * 104729 + written / 7) % (normals.length / 4)) | 0);
    written += writeSync(
      fd,
      normals.subarray(start, start + Math.min(normals.length - start, bytes - written)),
    );
  }
}

function pad(number) {
  return String(number).padStart(5, "0");
}

/** Bytes of normally distributed FP16 words, sigma 0.02: bits made from the float32 value, exact for this range. */
export function normalHalves(words) {
  const half = new Uint16Array(words);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  for (let i = 0; i < words; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    float[0] = Math.max(-1.8, Math.min(1.8, 0.02 * radius * Math.cos(2 * Math.PI * Math.random())));
    const exponent = ((bits[0] >>> 23) & 0xff) - 112;
    half[i] =
      ((bits[0] >>> 16) & 0x8000) |
      (exponent <= 0 ? (bits[0] >>> 13) & 0x3ff : (exponent << 10) | ((bits[0] >>> 13) & 0x3ff));
  }
  return Buffer.from(half.buffer);
}
