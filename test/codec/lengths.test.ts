import assert from "node:assert/strict";

import { type Codec, type SourceDtype, sourceBytes } from "../../src/codec/codec.ts";
import { referenceCodec } from "../../src/codec/reference-codec.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { testEach } from "./implementations.ts";
import { assertSameBytes } from "./same-bytes.ts";
import { bytesOf, float32Words, weightWords } from "./words.ts";

const longest = 257;
const guard = 0xa5;

/** An array at an odd address, with bytes around it that must stay as they are. */
function guarded(length: number, offset: number): { bytes: Uint8Array; check: (what: string) => void } {
  const around = new Uint8Array(length + 128).fill(guard);
  const bytes = around.subarray(offset, offset + length);
  const check = (what: string) => {
    const outside = [...around.subarray(0, offset), ...around.subarray(offset + length)];
    assert.ok(
      outside.every((byte) => byte === guard),
      `${what}: wrote outside its array`,
    );
  };
  return { bytes, check };
}

function misaligned(bytes: Uint8Array, offset: number): Uint8Array {
  const copy = new Uint8Array(bytes.length + offset).subarray(offset);
  copy.set(bytes);
  return copy;
}

function wordsFor(dtype: SourceDtype, shift: number): Uint8Array {
  const random = seededRandom(longest);
  const words =
    dtype === "F32"
      ? float32Words(shift, random, longest * 4)
      : weightWords(dtype, longest, 2 ** (shift - 1), random);
  return bytesOf(dtype, words.slice(0, longest));
}

async function compareLengths(codec: Codec, dtype: SourceDtype, shift: number): Promise<void> {
  const source = wordsFor(dtype, shift);
  const width = sourceBytes[dtype];
  const shifts = Uint8Array.of(shift);
  const upper = new Uint8Array(longest);
  const lower = new Uint8Array(longest);
  const joined = new Uint8Array(longest * width);
  await referenceCodec().splitRows(source, dtype, longest, shifts, upper, lower);
  await referenceCodec().joinRows(upper, lower, dtype, longest, shifts, joined);

  for (let length = 0; length <= longest; length++) {
    const what = `${dtype} shift ${shift} length ${length}`;
    const words = misaligned(source.subarray(0, length * width), 1 + (length % 3));
    const top = guarded(length, 3 + (length % 61));
    const low = guarded(length, 5);
    await codec.splitRows(words, dtype, length, shifts, top.bytes, low.bytes);
    assertSameBytes(top.bytes, upper.subarray(0, length), `${what} upper`);
    assertSameBytes(low.bytes, lower.subarray(0, length), `${what} lower`);
    top.check(`${what} upper`);
    low.check(`${what} lower`);

    const out = guarded(length * width, 7);
    await codec.joinRows(top.bytes, low.bytes, dtype, length, shifts, out.bytes);
    assertSameBytes(out.bytes, joined.subarray(0, length * width), `${what} joined`, width);
    out.check(`${what} joined`);

    const found = Uint8Array.of(guard);
    const wanted = Uint8Array.of(guard);
    assert.deepEqual(
      await codec.scanRows(words, dtype, length, found),
      await referenceCodec().scanRows(words, dtype, length, wanted),
      `${what} scan`,
    );
    assertSameBytes(found, wanted, `${what} shift`);
    assert.deepEqual(
      await codec.noiseOf(words, dtype, length, shifts, top.bytes),
      await referenceCodec().noiseOf(words, dtype, length, shifts, top.bytes),
      `${what} noise`,
    );
    assert.equal(await codec.countNonCanonical(top.bytes, low.bytes), 0, `${what} canonical`);
  }
}

for (const dtype of ["F16", "BF16", "F32"] as const) {
  testEach(`${dtype}: every length from 0 to ${longest} at odd addresses`, async (codec) => {
    for (const shift of [0, 3]) await compareLengths(codec, dtype, shift);
  });
}
