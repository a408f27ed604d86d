import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";

import { crc32 } from "../../src/codec/crc32.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { testEach } from "./implementations.ts";

const random = seededRandom(32);
const bytes = Uint8Array.from({ length: 5000 }, () => Math.floor(random() * 256));

test("reference: the check value of the CRC catalogue, and zlib on random bytes", () => {
  assert.equal(crc32(Buffer.from("123456789"), 0), 0xcbf43926);
  assert.equal(crc32(bytes, 0), zlibCrc32(bytes));
});

testEach("crc32 of every length and alignment, as zlib", async (codec) => {
  for (let length = 0; length <= 400; length++) {
    const piece = bytes.subarray(length % 17, (length % 17) + length);
    assert.equal(await codec.crc32(piece, 0), zlibCrc32(piece), `${length} bytes`);
  }
});

testEach("crc32 continues from any split", async (codec) => {
  for (let n = 0; n < 100; n++) {
    const split = Math.floor(random() * bytes.length);
    const first = await codec.crc32(bytes.subarray(0, split), 0);
    assert.equal(await codec.crc32(bytes.subarray(split), first), zlibCrc32(bytes), `split at ${split}`);
  }
});
