import assert from "node:assert/strict";
import { test } from "node:test";

import type { Codec } from "../../src/codec/codec.ts";
import { createCodec } from "../../src/codec/create-codec.ts";
import { referenceCodec } from "../../src/codec/reference-codec.ts";
import { codecOfFile } from "./implementations.ts";

const native = codecOfFile();
const bytes = (length: number) => new Uint8Array(length);

for (const codec of [native, referenceCodec()]) {
  const wrongSizes: [string, (codec: Codec) => Promise<unknown>][] = [
    ["words", (c) => c.scanRows(bytes(7), "F16", 2, bytes(2))],
    ["words", (c) => c.countLosses(bytes(8), "F32", 2, bytes(2))],
    ["upper", (c) => c.splitRows(bytes(8), "F16", 2, bytes(2), bytes(3), bytes(4))],
    ["lower", (c) => c.splitRows(bytes(8), "F16", 2, bytes(2), bytes(4), bytes(5))],
    ["words", (c) => c.joinRows(bytes(4), bytes(4), "BF16", 2, bytes(2), bytes(9))],
    ["lower", (c) => c.countNonCanonical(bytes(4), bytes(3))],
    ["upper", (c) => c.noiseOf(bytes(8), "F16", 2, bytes(2), bytes(0))],
    ["cols", (c) => c.scanRows(bytes(8), "F16", -1, bytes(2))],
    ["cols", (c) => c.scanRows(bytes(8), "F16", 1.5, bytes(2))],
    ["cols", (c) => c.scanRows(bytes(8), "F16", Number.NaN, bytes(2))],
    ["shifts", (c) => c.countLosses(bytes(8), "F16", 2, Uint8Array.of(0, 16))],
    ["shifts", (c) => c.splitRows(bytes(8), "F16", 2, Uint8Array.of(255, 0), bytes(4), bytes(4))],
    ["base", (c) => c.collectPatches(bytes(8), "F16", 2, bytes(2), -1, bytes(8), 4, bytes(4))],
  ];
  for (const [argument, call] of wrongSizes) {
    test(`${codec.name}: ${call.toString().slice(7)} is a RangeError about ${argument}`, async () => {
      await assert.rejects(call(codec), {
        name: "RangeError",
        message: new RegExp(`^${argument}: expected .* got `),
      });
    });
  }
}

test("a message names the argument, the expected and the actual size", async () => {
  await assert.rejects(native.scanRows(bytes(100), "BF16", 1024, bytes(2)), {
    message: "words: expected 4096 bytes (2 rows x 1024 columns x 2 bytes), got 100",
  });
});

test("arguments of another type are TypeErrors", async () => {
  const wrong = (value: unknown) => value as Uint8Array;
  await assert.rejects(native.scanRows(wrong(new Uint16Array(4)), "F16", 2, bytes(2)), {
    name: "TypeError",
    message: "words: expected a Uint8Array, got another typed array",
  });
  await assert.rejects(native.crc32(wrong(undefined), 0), {
    name: "TypeError",
    message: "bytes: expected a Uint8Array, got undefined",
  });
  await assert.rejects(native.sha256().update(wrong("text")), {
    name: "TypeError",
    message: /^bytes: .*"text"$/,
  });
});

test("a dtype that does not exist is a RangeError", async () => {
  await assert.rejects(native.scanRows(bytes(8), "F64" as "F32", 1, bytes(1)), {
    name: "RangeError",
    message: 'dtype: expected F16, BF16 or F32, got "F64"',
  });
});

test("a seed beyond 32 bits is a RangeError", async () => {
  await assert.rejects(native.crc32(bytes(1), 2 ** 32), { name: "RangeError", message: /^seed: / });
});

test("threads and implementation are checked", () => {
  for (const threads of [0, -1, 1.5, 1e6, Number.NaN]) {
    assert.throws(() => createCodec({ threads }), { name: "RangeError", message: /^threads: / });
  }
  assert.throws(() => createCodec({ threads: 1, implementation: "mmx" }), {
    name: "RangeError",
    message: /^implementation: this CPU runs .*scalar, got "mmx"$/,
  });
});

test("a Buffer is a Uint8Array", async () => {
  assert.equal(await native.crc32(Buffer.from("123456789"), 0), 0xcbf43926);
});
