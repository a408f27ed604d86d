import assert from "node:assert/strict";
import { test } from "node:test";

import { FormatError } from "../../src/errors.ts";
import { dtypeBits, dtypes, isDtype } from "../../src/safetensors/dtype.ts";
import {
  compareUtf8,
  parseHeader,
  type SafetensorsHeader,
  serializeHeader,
  type TensorInfo,
  tensorBytes,
  tensorWords,
} from "../../src/safetensors/header.ts";
import { Prng } from "./prng.ts";

const parse = (json: string, dataBytes: number) =>
  parseHeader(new TextEncoder().encode(json), dataBytes, "x");
const info = (dtype: string, shape: string, begin: number, end: number) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;

test("accepts an empty header, with padding", () => {
  assert.deepEqual(parse("{}   ", 0), {
    metadata: undefined,
    tensors: [],
    byName: new Map(),
    headerBytes: 13,
  });
});

test("tells no metadata from empty metadata", () => {
  assert.deepEqual(parse('{"__metadata__":{}}', 0).metadata, new Map());
});

test("accepts scalars and tensors without words, which may share an offset", () => {
  const { tensors } = parse(
    `{"z":${info("F32", "[0,3]", 4, 4)},"s":${info("F32", "[]", 0, 4)},"y":${info("U8", "[0]", 4, 4)},
      "x":${info("U8", "[0,9007199254740991,9007199254740991]", 0, 0)}}`,
    4,
  );
  assert.deepEqual(
    tensors.map((tensor) => tensor.name),
    ["x", "s", "z", "y"],
  );
});

test("sorts by offset whatever the order in the header", () => {
  const { tensors } = parse(`{"a":${info("U8", "[2]", 1, 3)},"b":${info("U8", "[1]", 0, 1)}}`, 3);
  assert.deepEqual(
    tensors.map((tensor) => tensor.name),
    ["b", "a"],
  );
});

test("takes names as plain data", () => {
  const names = ["__proto__", "constructor", "toString", "", "a\nb", 'q"\\', "é😀", "\u0000"];
  const members = names.map((name, i) => `${JSON.stringify(name)}:${info("U8", "[1]", i, i + 1)}`);
  const { byName } = parse(`{${members.join(",")}}`, names.length);
  assert.deepEqual([...byName.keys()], names);
  assert.deepEqual(byName.get("__proto__")?.dataOffsets, [0, 1]);
});

test("packs 4-bit and 6-bit words", () => {
  assert.equal(tensorBytes("F4", [2, 3]), 3);
  assert.equal(tensorBytes("F6_E3M2", [4]), 3);
  assert.ok(Number.isNaN(tensorBytes("F4", [3])));
  assert.ok(Number.isNaN(tensorBytes("F6_E2M3", [2])));
  // 2^53 - 4 words: 6 bits of each would leave the exact integers before the division by 8.
  assert.equal(tensorBytes("F6_E2M3", [2 ** 53 - 4]), ((2 ** 53 - 4) / 4) * 3);
});

test("counts words and bytes exactly or not at all", () => {
  assert.equal(tensorWords([]), 1);
  assert.equal(tensorWords([2 ** 53 - 1]), 2 ** 53 - 1);
  assert.equal(tensorWords([2 ** 27, 2 ** 26]), Infinity);
  assert.equal(tensorWords([2 ** 52, 2 ** 52, 0]), 0);
  assert.equal(tensorBytes("U64", [2 ** 50]), Infinity);
});

test("dtypes are the 22 of FORMAT.md, in its order", () => {
  assert.equal(
    dtypes.join(" "),
    "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64",
  );
  assert.ok(isDtype("BF16"));
  for (const name of ["__proto__", "constructor", "f16", ""]) assert.ok(!isDtype(name), name);
});

test("compareUtf8 orders as the bytes do", () => {
  const names = ["", "a", "ab", "é", "\ud7ff", "\ue000", "\uffff", "😀", "😀a", "\u{10ffff}"];
  for (const a of names) {
    for (const b of names) {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
      assert.equal(Math.sign(compareUtf8(a, b)), expected, JSON.stringify([a, b]));
    }
  }
});

test("serialises as FORMAT.md §4 lays tensors out", () => {
  const { bytes, tensors } = serializeHeader(
    [
      { name: "m", dtype: "BOOL", shape: [] },
      { name: "😀", dtype: "F16", shape: [2, 3] },
      { name: "\ue000", dtype: "F16", shape: [1] },
      { name: "i", dtype: "U64", shape: [0] },
      { name: "w", dtype: "F8_E4M3", shape: [3] },
    ],
    new Map([
      ["nestedfp.role", "upper"],
      ["format", "pt"],
    ]),
  );
  const text = Buffer.from(bytes.subarray(8)).toString();
  assert.equal(
    text.trimEnd(),
    '{"__metadata__":{"format":"pt","nestedfp.role":"upper"},' +
      '"i":{"dtype":"U64","shape":[0],"data_offsets":[0,0]},' +
      '"\ue000":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},' +
      '"😀":{"dtype":"F16","shape":[2,3],"data_offsets":[2,14]},' +
      '"w":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[14,17]},' +
      '"m":{"dtype":"BOOL","shape":[],"data_offsets":[17,18]}}',
  );
  assert.equal(bytes.length, 4096);
  assert.equal(Buffer.from(bytes).readBigUInt64LE(), 4088n);
  assert.match(text, /\} *$/);
  assert.deepEqual(tensors.at(-1), { name: "m", dtype: "BOOL", shape: [], dataOffsets: [17, 18] });
});

test("the layout does not depend on the order of the input", () => {
  const tensors = ["b", "a", "c"].map((name) => ({ name, dtype: "U8" as const, shape: [1] }));
  const metadata = new Map([
    ["x", "1"],
    ["y", "2"],
  ]);
  assert.deepEqual(
    serializeHeader(tensors, metadata).bytes,
    serializeHeader(tensors.toReversed(), new Map([...metadata].reverse())).bytes,
  );
});

test("a header that fills its block takes no further block", () => {
  for (const [length, total] of [
    [4096, 4096],
    [4097, 8192],
  ] as const) {
    const fixed = serializeHeader([{ name: "", dtype: "U8", shape: [0] }], new Map(), 1).bytes.length;
    const name = "n".repeat(length - fixed);
    assert.equal(serializeHeader([{ name, dtype: "U8", shape: [0] }], new Map()).bytes.length, total);
  }
});

test("refuses a header of 25 MB, padding included", () => {
  const empty = serializeHeader([{ name: "", dtype: "U8", shape: [] }], new Map(), 1).bytes.length;
  const largest = Math.floor(25_000_000 / 4096) * 4096;
  const header = (length: number) =>
    serializeHeader([{ name: "n".repeat(length - empty), dtype: "U8", shape: [] }], new Map());
  assert.equal(header(largest).bytes.length, largest);
  assert.throws(() => header(largest + 1), /takes 25001984 bytes, but must stay below 25000000/);
});

for (const [what, tensors, message] of [
  [
    "a name used twice with different dtypes",
    [
      { name: "a", dtype: "U8", shape: [] },
      { name: "b", dtype: "F16", shape: [] },
      { name: "a", dtype: "F32", shape: [] },
    ],
    /"a" is used twice/,
  ],
  ["the reserved name", [{ name: "__metadata__", dtype: "U8", shape: [] }], /"__metadata__" is reserved/],
  ["a lone surrogate", [{ name: "a\ud800", dtype: "U8", shape: [] }], /"a\\ud800" holds a lone surrogate/],
  ["half a byte", [{ name: "a", dtype: "F4", shape: [1] }], /"a" .*do not fill whole bytes/],
  ["more than 2^53 bytes", [{ name: "a", dtype: "U64", shape: [2 ** 52] }], /"a" .*need more than 2\^53 - 1/],
] as const) {
  test(`serializeHeader refuses ${what}`, () => {
    assert.throws(
      () => serializeHeader(tensors, new Map()),
      (error) => error instanceof FormatError && message.test(error.message),
    );
  });
}

test("random headers come back from serialise and parse", () => {
  const random = new Prng(2);
  for (let round = 0; round < 300; round++) {
    const tensors = new Map<string, Pick<TensorInfo, "name" | "dtype" | "shape">>();
    for (let i = random.below(20); i > 0; i--) {
      const name = randomName(random);
      const shape = Array.from({ length: random.below(4) }, () => random.pick([0, 1, 2, 7, 64, 1000]));
      // A last dimension that makes whole bytes of every dtype.
      tensors.set(name, { name, dtype: random.pick(dtypes), shape: [...shape, 4] });
    }
    const metadata = new Map(
      Array.from({ length: random.below(3) }, () => [randomName(random), randomName(random)] as const),
    );
    const written = serializeHeader([...tensors.values()], metadata, random.pick([1, 8, 4096]));
    const dataBytes = written.tensors.at(-1)?.dataOffsets[1] ?? 0;
    const read = parseHeader(written.bytes.subarray(8), dataBytes, "x");
    assert.deepEqual(
      read.tensors.map(({ dataOffsets: _, ...tensor }) => tensor).sort((a, b) => compareUtf8(a.name, b.name)),
      [...tensors.values()].sort((a, b) => compareUtf8(a.name, b.name)),
    );
    assert.deepEqual(new Set(read.tensors), new Set(written.tensors));
    assert.deepEqual(read.metadata ?? new Map(), metadata);
    assert.equal(read.headerBytes, written.bytes.length);
    assertAgrees(written.bytes.subarray(8), dataBytes, read);
  }
});

test("a mutated header is refused, or an independent check accepts it too", () => {
  const random = new Prng(3);
  const { bytes, tensors } = serializeHeader(
    [
      { name: "model.w", dtype: "F16", shape: [2, 3] },
      { name: "é", dtype: "U8", shape: [5] },
      { name: "scalar", dtype: "F32", shape: [] },
      { name: "none", dtype: "I64", shape: [0] },
    ],
    new Map([["format", "pt"]]),
    8,
  );
  const json = bytes.subarray(8);
  const dataBytes = Math.max(...tensors.map((tensor) => tensor.dataOffsets[1]));
  const pieces = [
    "0",
    "1",
    "9",
    '"',
    "\\",
    ",",
    ":",
    "{",
    "}",
    "[",
    "]",
    " ",
    "-",
    ".",
    "e",
    "\0",
    "\xff",
    "a",
    "U8",
  ];
  let accepted = 0;
  for (let round = 0; round < 30_000; round++) {
    const at = random.below(json.length);
    const piece = Buffer.from(random.pick(pieces), "latin1");
    const mutated = Buffer.concat([json.subarray(0, at), piece, json.subarray(at + random.below(3))]);
    try {
      assertAgrees(mutated, dataBytes, parseHeader(mutated, dataBytes, "x"));
      accepted++;
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      assert.ok(error.message.startsWith('"x": ') && !error.message.includes("\n"), error.message);
    }
  }
  assert.ok(accepted > 100 && accepted < 15_000, `${accepted} accepted`);
});

function randomName(random: Prng): string {
  const letters = [
    "a",
    "b",
    ".",
    "_",
    '"',
    "\\",
    "/",
    "\n",
    "\u0000",
    "\u007f",
    "é",
    "\ue000",
    "😀",
    "\u2028",
  ];
  return Array.from({ length: random.below(8) }, () => random.pick(letters)).join("");
}

/** Checks an accepted header with JSON.parse and the plainest code: one flag a byte of data. */
function assertAgrees(json: Uint8Array, dataBytes: number, header: SafetensorsHeader): void {
  const document = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json));
  const names = Object.keys(document).filter((name) => name !== "__metadata__");
  assert.deepEqual([...header.byName.keys()].sort(), names.sort());
  assert.equal(header.tensors.length, names.length);
  for (const value of Object.values(document.__metadata__ ?? {})) assert.equal(typeof value, "string");
  assert.equal(header.metadata?.size, document.__metadata__ && Object.keys(document.__metadata__).length);

  const owners = new Uint8Array(Math.min(dataBytes, 1 << 16));
  for (const name of names) {
    const tensor = document[name];
    assert.deepEqual(Object.keys(tensor).sort(), ["data_offsets", "dtype", "shape"]);
    const [begin, end] = tensor.data_offsets;
    const seen = header.byName.get(name);
    assert.deepEqual(seen, { name, dtype: tensor.dtype, shape: tensor.shape, dataOffsets: [begin, end] });
    const words = tensor.shape.reduce((product: bigint, dim: number) => product * BigInt(dim), 1n);
    const bits = new Map<string, number>(Object.entries(dtypeBits)).get(tensor.dtype);
    assert.equal(words * BigInt(bits ?? assert.fail(tensor.dtype)), BigInt(end - begin) * 8n);
    assert.ok(begin >= 0 && begin <= end && end <= dataBytes);
    if (dataBytes === owners.length) for (let i = begin; i < end; i++) owners[i] = (owners[i] ?? 0) + 1;
  }
  if (dataBytes === owners.length) assert.ok(owners.every((count) => count === 1));
}
