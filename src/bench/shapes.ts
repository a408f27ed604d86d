import { UsageError } from "../errors.ts";

/** The weight of one linear layer, [n, k], as one GPU holds it. */
export type BenchShape = {
  readonly n: number;
  readonly k: number;
  /** Every layer that has this shape: "llama-3.1-8b qkv", "qwen3-8b qkv". */
  readonly names: readonly string[];
};

/** What of a decoder's configuration decides the shapes of its linear layers. */
export type LayerDimensions = {
  readonly name: string;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** The MLP is one of several experts, each with weights of its own. */
  readonly experts?: boolean;
};

/**
 * The four linear layers of a decoder layer as serving engines fuse them, on one of `tp` GPUs: qkv and gate_up are
 * split by columns (N), o and down by rows (K), and kv heads are replicated when there are fewer than GPUs.
 *
 * @throws UsageError when `tp` does not divide the heads or the intermediate size
 */
export function fusedShapes(model: LayerDimensions, tp: number): BenchShape[] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim } = model;
  refuseUneven(model.name, "attention heads", heads, tp);
  refuseUneven(model.name, "columns of its MLP", intermediateSize, tp);
  if (kvHeads % tp !== 0 && tp % kvHeads !== 0) refuseUneven(model.name, "kv heads", kvHeads, tp);
  const ownKvHeads = Math.max(1, kvHeads / tp);
  const prefix = tp === 1 ? model.name : `${model.name} tp${tp}`;
  const mlp = model.experts ? `${prefix} expert` : prefix;
  return [
    { n: (heads / tp + 2 * ownKvHeads) * headDim, k: hiddenSize, names: [`${prefix} qkv`] },
    { n: hiddenSize, k: (heads / tp) * headDim, names: [`${prefix} o`] },
    { n: (2 * intermediateSize) / tp, k: hiddenSize, names: [`${mlp} gate_up`] },
    { n: hiddenSize, k: intermediateSize / tp, names: [`${mlp} down`] },
  ];
}

function refuseUneven(name: string, what: string, count: number, tp: number): void {
  if (count % tp === 0) return;
  throw new UsageError(`--tp ${tp} does not divide the ${count} ${what} of ${JSON.stringify(name)}`, {
    hint: "leave that number out, or benchmark this model apart",
  });
}

/** Each shape once, in the order of its first name. */
export function mergeShapes(shapes: readonly BenchShape[]): BenchShape[] {
  const merged = new Map<string, BenchShape>();
  for (const { n, k, names } of shapes) {
    const key = `${n}x${k}`;
    const known = merged.get(key)?.names ?? [];
    merged.set(key, { n, k, names: [...new Set([...known, ...names])] });
  }
  return [...merged.values()];
}

const largestSize = 2 ** 20;

/**
 * `4096,14336` or `4096x14336`: N, then K.
 * @throws UsageError
 */
export function parseShape(text: string): BenchShape {
  const [, n = "", k = ""] = /^(\d{1,7})[,x](\d{1,7})$/.exec(text.trim()) ?? [];
  const sizes = [Number(n), Number(k)] as const;
  if (sizes.some((size) => size < 1 || size > largestSize)) {
    throw new UsageError(`--shapes ${JSON.stringify(text)} is not N,K of 1 to ${largestSize} each`, {
      hint: "for example --shapes 4096,14336",
    });
  }
  return { n: sizes[0], k: sizes[1], names: [`${sizes[0]}x${sizes[1]}`] };
}
