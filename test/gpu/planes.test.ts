import assert from "node:assert/strict";

import { decompose, halfToNumber, isEligible, reconstruct } from "../../src/codec/reference.ts";
import { eligibleWords, planesOf, unalignedBytes } from "../device/values.ts";
import { paddedK, paddedN, toDeviceOrder, toLowerPlane } from "../kernels/device-layout.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { gpuTest } from "./session.ts";

const hex = (value: number | undefined) => `0x${value?.toString(16)}`;

const side = 256;
const allWords = Uint16Array.from({ length: 65536 }, (_, word) => word);

gpuTest("all 65,536 words: the planes of the finite ones are the reference's", async (gpu) => {
  const { upper, lower } = await gpu.splitPlanes(unalignedBytes(allWords), side, side);
  const isOrdinary = (word: number) => Number.isFinite(halfToNumber(word));
  const expected = {
    upper: Uint8Array.from(allWords, (word) => (isOrdinary(word) ? decompose(word).upper : 0)),
    lower: Uint8Array.from(allWords, (word) => word & 0xff),
  };
  const uppers = toDeviceOrder(expected.upper, side, side);
  const lowers = toLowerPlane(expected, side, side);
  const areOrdinary = toDeviceOrder(
    Uint8Array.from(allWords, (word) => Number(isOrdinary(word))),
    side,
    side,
  );
  assert.deepEqual(lower, lowers);
  for (const [at, byte] of upper.entries()) {
    if (areOrdinary[at] === 1) assert.equal(byte, uppers[at], `upper at ${at}`);
  }
});

gpuTest("all 65,536 pairs of bytes give the reference's words", async (gpu) => {
  const upper = Uint8Array.from({ length: 65536 }, (_, pair) => pair >> 8);
  const lower = Uint8Array.from({ length: 65536 }, (_, pair) => pair & 0xff);
  const bytes = await gpu.joinPlanes(
    toDeviceOrder(upper, side, side),
    toLowerPlane({ upper, lower }, side, side),
    side,
    side,
  );
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, 65536);
  for (const [pair, word] of words.entries()) {
    assert.equal(word, reconstruct({ upper: pair >> 8, lower: pair & 0xff }), `pair ${hex(pair)}`);
  }
});

gpuTest("the 32,512 eligible words come back from their planes", async (gpu) => {
  const words = allWords.filter(isEligible);
  const [n, k] = [words.length / 64, 64];
  const { upper, lower } = await gpu.splitPlanes(unalignedBytes(words), n, k);
  const bytes = await gpu.joinPlanes(upper, lower, n, k);
  assert.deepEqual(new Uint16Array(bytes.buffer, bytes.byteOffset, words.length), words);
});

gpuTest("rows are filled up with zeros to 128s, and the lower plane to whole tiles", async (gpu) => {
  for (const [n, k] of [
    [5, 16],
    [3, 80],
    [7, 176],
    [80, 272],
  ] as const) {
    const words = eligibleWords(n * k, seededRandom(k));
    const planes = planesOf(words);
    const { upper, lower } = await gpu.splitPlanes(unalignedBytes(words), n, k);
    assert.equal(upper.length, n * paddedK(k));
    assert.deepEqual(upper, toDeviceOrder(planes.upper, n, k), `upper of [${n}, ${k}]`);
    assert.equal(lower.length, paddedN(n) * paddedK(k));
    assert.deepEqual(lower, toLowerPlane(planes, n, k), `lower of [${n}, ${k}]`);
    const bytes = await gpu.joinPlanes(upper, lower, n, k);
    assert.deepEqual(new Uint16Array(bytes.buffer, bytes.byteOffset, n * k), words);
  }
});
