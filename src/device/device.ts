/** The arithmetic of one linear layer; an argument of a call, never a mode. */
export type Precision = "fp16" | "nested-fp16" | "nested-fp8" | "fp8";

/** What an FP8 layer multiplies with: E4M3 with one scale per token, or the activations as they are. */
export type ActivationFormat = "e4m3" | "fp16";

declare const handle: unique symbol;

/**
 * A matrix in a device's memory and in its own number format (FP32 on the CPU, FP16 on CUDA), row-major; one row
 * per token. It may be a view of another one, see {@link Device.columns}.
 */
export type Activations = { readonly rows: number; readonly cols: number; readonly [handle]: "activations" };

/** FP32 values in a device's memory: the weight of a norm, a bias, the cosines of RoPE. */
export type Constants = { readonly length: number; readonly [handle]: "constants" };

/** The weights of a linear layer or of an embedding in a device's memory: `rows` = N outputs of `cols` = K inputs. */
export type Weights = {
  readonly rows: number;
  readonly cols: number;
  readonly kind: WeightBytes["kind"];
  readonly [handle]: "weights";
};

/**
 * Weights as they lie in files: little-endian, row-major [N, K], slices at any address. All values are finite; a
 * pair of planes is canonical (FORMAT.md §1). The CPU keeps these views and reads them in every call: they must not
 * change while the handle lives.
 */
export type WeightBytes =
  /** binary16 words. */
  | { readonly kind: "fp16"; readonly words: Uint8Array }
  /** Both planes for "nested-fp16" and "nested-fp8"; without `lower` only the latter. `shifts` [N], 0..15, default 0. */
  | {
      readonly kind: "nested";
      readonly upper: Uint8Array;
      readonly lower?: Uint8Array | undefined;
      readonly shifts?: Uint8Array | undefined;
    }
  /** E4M3FN bytes, w = byte * scales[n]. */
  | { readonly kind: "fp8"; readonly bytes: Uint8Array; readonly scales: Float32Array }
  /** For embeddings alone. */
  | { readonly kind: "bf16"; readonly words: Uint8Array }
  /** For embeddings alone. */
  | { readonly kind: "fp32"; readonly words: Uint8Array };

export type LinearOptions = {
  /** "fp16" for weights of that kind, "fp8" for fp8, one of the nested two for nested. */
  readonly precision: Precision;
  /** [N], added last. */
  readonly bias?: Constants | undefined;
  /** Of "nested-fp8" and "fp8"; default "e4m3". */
  readonly activations?: ActivationFormat | undefined;
};

export type AttentionOptions = {
  /** Tokens of each independent sequence; they follow one another in the rows. The sum is the number of rows. */
  readonly sequenceLengths: Int32Array;
  readonly heads: number;
  /** A divisor of `heads`; head h reads keys and values of kv head floor(h * kvHeads / heads). */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Multiplies q . k, usually headDim^-0.5. */
  readonly scale: number;
  /** Position i sees j with i - window < j <= i (Hugging Face's Mistral); default: every j <= i. */
  readonly slidingWindow?: number | undefined;
};

/** Of each row; p are the probabilities softmax(logits). */
export type Comparison = {
  /** Kullback-Leibler divergence KL(reference || logits) in nats; exactly 0 for equal logits. */
  readonly kl: Float64Array;
  /** 1 where both have the same most likely token (the first of equals), else 0. */
  readonly sameTop1: Uint8Array;
  /** p(target) - p_reference(target). */
  readonly deltaP: Float64Array;
};

/**
 * The operations of a Llama-type decoder on one machine. As on a CUDA stream, an operation that returns nothing is
 * only queued: it runs off the main thread, after the operations called before it. So a model calls all of its
 * operations and awaits only results; `await finish()` now and then bounds the queue, and lets go of what was freed.
 * Wrong arguments throw a TypeError or RangeError in the call itself (promises reject), and nothing is queued.
 * Int32Arrays and Float32Arrays are copied in the call; weights are not. The result of an operation depends neither
 * on the number of threads nor on the timing. Unless an operation says so, `out` may not overlap an input.
 */
export type Device = {
  /** For reports: "cpu avx512, 2 threads". */
  readonly name: string;

  /** Zeros, [rows, cols]. */
  allocate(rows: number, cols: number): Activations;
  /** Columns first .. first + count - 1 of x, in the same memory: q, k and v of a fused projection. */
  columns(x: Activations, first: number, count: number): Activations;
  /** Rows first .. first + count - 1 of x, in the same memory: a block of tokens. */
  rows(x: Activations, first: number, count: number): Activations;
  constants(values: Float32Array): Constants;
  /** @throws RangeError when the bytes are not [rows, cols], or a shift is above 15. */
  weights(bytes: WeightBytes, rows: number, cols: number): Weights;
  /** Gives memory back when the queued operations on it are done; without it, garbage collection does some time. */
  free(...handles: (Activations | Constants | Weights)[]): void;

  /** Row-major [rows, cols], as large as x. */
  upload(values: Float32Array, x: Activations): void;
  download(x: Activations): Promise<Float32Array>;
  /** Resolves when everything called so far is done. */
  finish(): Promise<void>;
  /** Ends the threads when the queue is done; every later call throws. */
  close(): void;

  /** out[t] = table[ids[t]]; table is fp16, bf16 or fp32. */
  embedding(table: Weights, ids: Int32Array, out: Activations): void;
  /**
   * out = x / sqrt(mean(x^2) + eps) * weight, over each `weight.length` neighbouring columns: whole rows, or every
   * head of a row when the weight has headDim values. `out` may be x.
   */
  rmsNorm(x: Activations, weight: Constants, eps: number, out: Activations): void;
  /**
   * out[t, n] = sum over k of x[t, k] * w[n, k] + bias[n], accumulated in FP32.
   * fp16: w are the words. nested-fp16: both planes, times 2^s; bit for bit the result of fp16 on words * 2^s.
   * nested-fp8: w = E4M3(upper) * 2^(s-8). fp8: w = E4M3(byte) * scales[n].
   * Activations "e4m3": per token scale = max|x| / 448 (1 if 0), x8 = E4M3(x / scale), nearest even, saturating, and
   * out = sum(x8 * w8) * row scale * token scale + bias, in FP32.
   */
  linear(x: Activations, weights: Weights, out: Activations, options: LinearOptions): void;
  /**
   * Rotary position embedding in place, in Hugging Face's rotate_half layout: column c < rotaryDim / 2 of each head
   * pairs with c + rotaryDim / 2; columns from rotaryDim on stay.
   * @param cos [positions, rotaryDim / 2], and so `sin`; row positions[t] is that of row t of x.
   */
  rope(
    x: Activations,
    headDim: number,
    rotaryDim: number,
    cos: Constants,
    sin: Constants,
    positions: Int32Array,
  ): void;
  /**
   * Causal softmax(scale * q k^T) v of every sequence and head, softmax in FP32.
   * @param q [rows, heads * headDim], and so `out`. @param k [rows, kvHeads * headDim], and so `v`.
   */
  attention(
    q: Activations,
    k: Activations,
    v: Activations,
    out: Activations,
    options: AttentionOptions,
  ): void;
  /** out = silu(gate) * up; `out` may be one of them. Halves of a fused [rows, 2I] are two {@link columns}. */
  siluMul(gate: Activations, up: Activations, out: Activations): void;
  /** x += y. */
  add(x: Activations, y: Activations): void;

  /** -ln softmax(logits[t])[targets[t]] of each row t; NaN where a logit is NaN or +Infinity. */
  nll(logits: Activations, targets: Int32Array): Promise<Float64Array>;
  compare(reference: Activations, logits: Activations, targets: Int32Array): Promise<Comparison>;
  /** Whether a value is NaN or infinite. */
  anyNonFinite(x: Activations): Promise<boolean>;
  /** The first row-major index at which the bits differ, or -1. */
  firstDifference(a: Activations, b: Activations): Promise<number>;

  /** Per-row FP8 of binary16 words [rows, cols]: scale = max|w| / 448 in FP32 (1 if 0), bytes = E4M3(w / scale). */
  quantiseFp8(
    words: Uint8Array,
    rows: number,
    cols: number,
  ): Promise<{ bytes: Uint8Array; scales: Float32Array }>;
  /** Little-endian bf16 or fp32 words rounded to the nearest binary16, ties to even; overflow gives infinity. */
  toHalf(words: Uint8Array, dtype: "bf16" | "fp32"): Promise<Uint8Array>;
};
