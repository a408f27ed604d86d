import type { SlowJson } from "./slow-json.ts";
import { NotStrict, slowJson } from "./slow-json.ts";

export type SlowTensor = {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly bigint[];
  readonly begin: bigint;
  readonly end: bigint;
};

export type SlowHeader = {
  readonly metadata: readonly (readonly [string, string])[] | undefined;
  readonly tensors: readonly SlowTensor[];
};

// By the list of FORMAT.md §9, in bits.
const bits: readonly (readonly [names: string, bits: bigint])[] = [
  ["F4", 4n],
  ["F6_E2M3 F6_E3M2", 6n],
  ["BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ", 8n],
  ["I16 U16 F16 BF16", 16n],
  ["I32 U32 F32", 32n],
  ["C64 F64 I64 U64", 64n],
];

/** No size above this is supported: the only rule here that is the implementation's own. */
const mostSupported = 2n ** 53n - 1n;

/** The rules of FORMAT.md §9 on a header, each by itself, in big integers. @throws NotStrict */
export function slowHeader(json: Uint8Array, dataBytes: number): SlowHeader {
  demand(json[0] === 0x7b, "the first byte is a brace");
  const root = slowJson(json);
  demand(root.kind === "object", "an object");
  const tensors: SlowTensor[] = [];
  let metadata: SlowHeader["metadata"];
  for (const [name, value] of root.members) {
    if (name === "__metadata__") metadata = metadataOf(value);
    else tensors.push(tensorOf(name, value));
  }
  checkTiling(tensors, BigInt(dataBytes));
  return { metadata, tensors };
}

function metadataOf(value: SlowJson): [string, string][] {
  demand(value.kind === "object", "metadata is an object");
  return value.members.map(([key, entry]) => {
    demand(entry.kind === "string", "metadata maps to strings");
    return [key, entry.text];
  });
}

function tensorOf(name: string, value: SlowJson): SlowTensor {
  demand(value.kind === "object", "a tensor is an object");
  const fields = new Map(value.members);
  demand([...fields.keys()].sort().join() === "data_offsets,dtype,shape", "three fields");
  const dtype = fields.get("dtype");
  demand(dtype?.kind === "string", "dtype is a string");
  const width = bits.find(([names]) => names.split(" ").includes(dtype.text))?.[1];
  demand(width !== undefined, "a known dtype");
  const shape = sizesOf(fields.get("shape"));
  const [begin, end, ...more] = sizesOf(fields.get("data_offsets"));
  demand(begin !== undefined && end !== undefined && more.length === 0, "two offsets");
  const allBits = shape.reduce((product, size) => product * size, width);
  demand(allBits % 8n === 0n && allBits / 8n === end - begin, "shape times size is the range");
  // The words are multiplied first, so they are bounded by themselves, unless one size is 0.
  const words = allBits / width;
  demand(words <= mostSupported, "a supported number of words");
  return { name, dtype: dtype.text, shape, begin, end };
}

function sizesOf(value: SlowJson | undefined): bigint[] {
  demand(value?.kind === "array", "a list");
  return value.items.map((item) => {
    demand(item.kind === "number" && /^(0|[1-9][0-9]*)$/.test(item.literal), "a plain integer");
    const size = BigInt(item.literal);
    demand(size <= mostSupported, "a supported size");
    return size;
  });
}

/** Every byte belongs to exactly one tensor. */
function checkTiling(tensors: readonly SlowTensor[], dataBytes: bigint): void {
  let covered = 0n;
  for (const { begin, end } of tensors) {
    demand(begin <= end && end <= dataBytes, "inside the data");
    covered += end - begin;
  }
  demand(covered === dataBytes, "no hole");
  for (const a of tensors) {
    for (const b of tensors) {
      demand(
        a === b || a.begin === a.end || b.begin === b.end || a.end <= b.begin || b.end <= a.begin,
        "no overlap",
      );
    }
  }
  // An empty tensor lies at a border, not inside another.
  for (const { begin } of tensors.filter((tensor) => tensor.begin === tensor.end)) {
    demand(!tensors.some((other) => other.begin < begin && begin < other.end), "not inside another");
  }
}

function demand(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new NotStrict(rule);
}
