import assert from "node:assert/strict";

import type { Codec, SourceDtype } from "../../src/codec/codec.ts";
import { sourceBytes } from "../../src/codec/codec.ts";
import { referenceCodec } from "../../src/codec/reference-codec.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { testEach } from "./implementations.ts";
import { assertSameBytes } from "./same-bytes.ts";
import { bytesOf, eligibleWords, float32Words } from "./words.ts";

const shifts = Array.from({ length: 16 }, (_, shift) => shift);

/** All that a codec says of one row under one shift. */
async function answersOf(codec: Codec, words: Uint8Array, dtype: SourceDtype, shift: number) {
  const cols = words.length / sourceBytes[dtype];
  const rowShift = Uint8Array.of(shift);
  const upper = new Uint8Array(cols);
  const lower = new Uint8Array(cols);
  const joined = new Uint8Array(words.length);
  const index = new Uint8Array(cols * 4);
  const value = new Uint8Array(cols * 2);
  const losses = await codec.countLosses(words, dtype, cols, rowShift);
  await codec.splitRows(words, dtype, cols, rowShift, upper, lower);
  await codec.joinRows(upper, lower, dtype, cols, rowShift, joined);
  const nonCanonical = await codec.countNonCanonical(upper, lower);
  const noise = await codec.noiseOf(words, dtype, cols, rowShift, upper);
  const patches =
    dtype === "F32" ? 0 : await codec.collectPatches(words, dtype, cols, rowShift, 0, index, 4, value);
  return { losses, upper, lower, joined, nonCanonical, noise, patches, index, value };
}

type Answers = Awaited<ReturnType<typeof answersOf>>;

/** The oracle is slow: each case is asked once for all implementations. */
const oracle = new Map<string, Promise<Answers>>();

function expectedAnswers(words: Uint8Array, dtype: SourceDtype, shift: number): Promise<Answers> {
  const key = `${dtype} ${shift}`;
  const known = oracle.get(key) ?? answersOf(referenceCodec(), words, dtype, shift);
  oracle.set(key, known);
  return known;
}

async function compare(codec: Codec, words: Uint8Array, dtype: SourceDtype, shift: number): Promise<void> {
  const expected = await expectedAnswers(words, dtype, shift);
  const actual = await answersOf(codec, words, dtype, shift);
  const what = `${dtype} shift ${shift}`;
  assertSameBytes(actual.upper, expected.upper, `${what} upper`);
  assertSameBytes(actual.lower, expected.lower, `${what} lower`);
  assertSameBytes(actual.joined, expected.joined, `${what} joined`, sourceBytes[dtype]);
  assertSameBytes(actual.index, expected.index, `${what} patch index`, 4);
  assertSameBytes(actual.value, expected.value, `${what} patch value`, 2);
  const { losses, nonCanonical, noise, patches } = actual;
  assert.deepEqual(
    { losses, nonCanonical, noise, patches },
    {
      losses: expected.losses,
      nonCanonical: 0,
      noise: expected.noise,
      patches: dtype === "F32" ? 0 : expected.losses.inexact,
    },
    what,
  );
}

/** Puts the patches over what was joined. */
function patched({ joined, index, value, patches }: Answers): Uint8Array {
  const restored = joined.slice();
  for (let k = 0; k < patches; k++) {
    const at = new DataView(index.buffer).getUint32(k * 4, true);
    restored.set(value.subarray(k * 2, k * 2 + 2), at * 2);
  }
  return restored;
}

for (const dtype of ["F16", "BF16"] as const) {
  testEach(`every ${dtype} word that is eligible, under every shift, as the reference`, async (codec) => {
    for (const shift of shifts) {
      await compare(codec, bytesOf(dtype, eligibleWords(dtype, shift)), dtype, shift);
    }
  });

  testEach(`${dtype} words joined and patched are the source`, async (codec) => {
    for (const shift of shifts) {
      const words = bytesOf(dtype, eligibleWords(dtype, shift));
      const answers = await answersOf(codec, words, dtype, shift);
      assertSameBytes(patched(answers), words, `${dtype} shift ${shift}`, 2);
      if (dtype === "F16" && shift === 0) assert.equal(answers.patches, 0);
    }
  });
}

testEach("F32 words, random and at every edge, as the reference", async (codec) => {
  for (const shift of [0, 1, 7, 15]) {
    const words = float32Words(shift, seededRandom(shift), 20_000);
    await compare(codec, bytesOf("F32", words), "F32", shift);
  }
});

testEach("all 65,536 pairs, canonical or not, join as the reference", async (codec) => {
  const upper = Uint8Array.from({ length: 0x10000 }, (_, bits) => bits >> 8);
  const lower = Uint8Array.from({ length: 0x10000 }, (_, bits) => bits & 0xff);
  const expected = new Uint8Array(0x20000);
  const actual = new Uint8Array(0x20000);
  await referenceCodec().joinRows(upper, lower, "F16", 0x10000, Uint8Array.of(0), expected);
  await codec.joinRows(upper, lower, "F16", 0x10000, Uint8Array.of(0), actual);
  assertSameBytes(actual, expected, "joined", 2);
});

testEach("counts the non-canonical pairs of every upper byte as the reference", async (codec) => {
  const lower = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  let total = 0;
  for (let byte = 0; byte < 256; byte++) {
    const upper = new Uint8Array(256).fill(byte);
    const count = await codec.countNonCanonical(upper, lower);
    assert.equal(count, await referenceCodec().countNonCanonical(upper, lower), `upper ${byte}`);
    total += count;
  }
  assert.equal(total, 65536 - 32512);
});
