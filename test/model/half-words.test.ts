import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { createCodec } from "../../src/codec/create-codec.ts";
import { decompose, halfToNumber, reconstruct, roundToHalf } from "../../src/codec/reference.ts";
import { createCpuDevice } from "../../src/device/cpu.ts";
import { readHalfWords } from "../../src/model/half-words.ts";
import type { StoredWeight } from "../../src/model/model-files.ts";
import type { TensorPlace } from "../../src/safetensors/checkpoint.ts";
import { openShard } from "../../src/safetensors/reader.ts";
import type { TensorData } from "../convert/checkpoints.ts";
import { safetensorsOf } from "../convert/checkpoints.ts";
import { scratchDirectory } from "../convert/scratch.ts";

// More than a block of 4 MiB of any dtype, and the last block is not whole.
const rows = 2100;
const cols = 1024;
const shape = [rows, cols];

/** A value for each weight that is no multiple of a row or block away from its like; exact in binary16. */
const wordAt = (index: number): number => ((index * 2654435761) % 0x3f80) | (index % 3 === 0 ? 0x8000 : 0);

async function placesOf(t: TestContext, tensors: readonly TensorData[]): Promise<TensorPlace[]> {
  const path = join(await scratchDirectory(t), "x.safetensors");
  writeFileSync(path, safetensorsOf(tensors));
  const shard = await openShard(path);
  t.after(() => shard.close());
  return tensors.map(({ name }) => ({ shard, info: shard.header.byName.get(name) ?? assert.fail(name) }));
}

async function wordsOf(t: TestContext, stored: StoredWeight): Promise<Uint16Array> {
  const codec = createCodec({ threads: 2 });
  const device = createCpuDevice({ threads: 2 });
  t.after(() => {
    codec.close();
    device.close();
  });
  const bytes = await readHalfWords(stored, [rows, cols], device, codec);
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
}

function fill(bytesPerValue: number, write: (view: DataView, index: number) => void): Uint8Array {
  const bytes = new Uint8Array(rows * cols * bytesPerValue);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < rows * cols; index++) write(view, index);
  return bytes;
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

for (const dtype of ["F16", "BF16", "F32"] as const) {
  test(`${dtype} in blocks gives every word rounded once`, async (t) => {
    const data = fill(dtype === "F32" ? 4 : 2, (view, index) => {
      const value = halfToNumber(wordAt(index)) * 1.0007;
      single[0] = value;
      if (dtype === "F32") view.setFloat32(4 * index, value, true);
      else view.setUint16(2 * index, dtype === "F16" ? wordAt(index) : (bits[0] ?? 0) >>> 16, true);
    });
    const view = new DataView(data.buffer);
    const [place] = await placesOf(t, [{ name: "w", dtype, shape, data }]);
    const words = await wordsOf(t, { kind: "words", place: place ?? assert.fail() });
    for (let index = 0; index < rows * cols; index += 7) {
      bits[0] = dtype === "BF16" ? view.getUint16(2 * index, true) << 16 : 0;
      const value = dtype === "F32" ? view.getFloat32(4 * index, true) : (single[0] ?? 0);
      const expected = dtype === "F16" ? wordAt(index) : roundToHalf(value);
      if (words[index] !== expected) assert.fail(`word ${index} is ${words[index]}, not ${expected}`);
    }
  });
}

for (const hasLower of [true, false]) {
  test(`planes ${hasLower ? "with" : "without"} their lower one give words times 2^s`, async (t) => {
    const shiftOf = (row: number): number => row % 3;
    const planes = { upper: new Uint8Array(rows * cols), lower: new Uint8Array(rows * cols) };
    for (let index = 0; index < rows * cols; index++) {
      const pair = decompose(wordAt(index));
      planes.upper[index] = pair.upper;
      planes.lower[index] = pair.lower;
    }
    const scales = new Uint8Array(4 * rows);
    const view = new DataView(scales.buffer);
    for (let row = 0; row < rows; row++) view.setFloat32(4 * row, 2 ** (shiftOf(row) - 8), true);
    const [upper, lower, scale] = await placesOf(t, [
      { name: "u", dtype: "F8_E4M3", shape, data: planes.upper },
      { name: "l", dtype: "U8", shape, data: planes.lower },
      { name: "s", dtype: "F32", shape: [rows, 1], data: scales },
    ]);
    if (upper === undefined || scale === undefined) assert.fail();
    const words = await wordsOf(t, { kind: "planes", upper, scale, lower: hasLower ? lower : undefined });
    for (let index = 0; index < rows * cols; index += 7) {
      const { upper = 0, lower = 0 } = { upper: planes.upper[index], lower: planes.lower[index] };
      // E4M3 * 2^-8 is the word whose low seven bits are 0.
      const word = hasLower ? reconstruct({ upper, lower }) : ((upper & 0x80) << 8) | ((upper & 0x7f) << 7);
      const expected = roundToHalf(halfToNumber(word) * 2 ** shiftOf(Math.floor(index / cols)));
      if (words[index] !== expected) assert.fail(`word ${index} is ${words[index]}, not ${expected}`);
    }
  });
}
