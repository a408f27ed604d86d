import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { syncSha256 } from "../../src/codec/reference-codec.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { codecOfFile } from "./implementations.ts";

const codec = codecOfFile(3);
const random = seededRandom(256);
const bytes = Uint8Array.from({ length: 300_000 }, () => Math.floor(random() * 256));
const expected = createHash("sha256").update(bytes).digest("hex");

function pieces(): Uint8Array[] {
  const cuts = Array.from({ length: 500 }, () => Math.floor(random() * bytes.length)).sort((a, b) => a - b);
  return [...cuts, bytes.length].map((end, k) => bytes.subarray(cuts[k - 1] ?? 0, end));
}

test("the digest of no bytes", async () => {
  const empty = createHash("sha256").digest("hex");
  assert.equal(await codec.sha256().digest(), empty);
  assert.equal(await syncSha256().digest(), empty);
});

test("updates that nobody awaits keep their order, in many hashes at once", async () => {
  const digests = Array.from({ length: 8 }, () => {
    const hash = codec.sha256();
    for (const piece of pieces()) void hash.update(piece);
    return hash.digest();
  });
  for (const digest of await Promise.all(digests)) assert.equal(digest, expected);
});

test("other work goes on between the updates of a hash", async () => {
  const hash = codec.sha256();
  const updates = pieces().map((piece) => hash.update(piece));
  const checksums = pieces().map((piece) => codec.crc32(piece, 0));
  await Promise.all([...updates, ...checksums]);
  assert.equal(await hash.digest(), expected);
});

test("node:crypto gives the same", async () => {
  const hash = syncSha256();
  for (const piece of pieces()) void hash.update(piece);
  assert.equal(await hash.digest(), expected);
});

test("a hash that is finished takes no more", async () => {
  const hash = codec.sha256();
  await hash.digest();
  await assert.rejects(hash.update(bytes), { message: "sha256: digest() has been called already" });
  await assert.rejects(hash.digest(), { message: "sha256: digest() has been called already" });
});
