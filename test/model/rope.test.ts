import assert from "node:assert/strict";
import { test } from "node:test";
import { inverseFrequencies, ropeTables } from "../../src/model/rope.ts";
import type { RopeSpec } from "../../src/model/rope-config.ts";

const plain: RopeSpec = { type: "default", theta: 500_000, rotaryDim: 64 };
const llama3: RopeSpec = {
  ...plain,
  type: "llama3",
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositions: 8192,
};
const longrope: RopeSpec = {
  ...plain,
  type: "longrope",
  shortFactor: Array.from({ length: 32 }, (_, i) => 1 + i / 10),
  longFactor: Array.from({ length: 32 }, (_, i) => 2 + i),
  originalMaxPositions: 300,
  attentionFactor: 1.25,
};

/** theta^(-2i / d) in double precision. */
const base = (i: number) => Math.exp((-2 * i * Math.log(500_000)) / 64);

/** Meta's llama-models, `apply_scaling`, in double precision. */
function metaScaling(frequency: number): number {
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < 8192 / 4) return frequency;
  if (wavelength > 8192 / 1) return frequency / 8;
  const smooth = (8192 / wavelength - 1) / (4 - 1);
  return ((1 - smooth) * frequency) / 8 + smooth * frequency;
}

for (const [name, rope, positions, frequency, scale] of [
  ["default", plain, 500, base, 1],
  ["linear", { ...plain, type: "linear", factor: 4 } as const, 500, (i: number) => base(i) / 4, 1],
  ["llama3", llama3, 500, (i: number) => metaScaling(base(i)), 1],
  ["longrope, up to the original length", longrope, 300, (i: number) => base(i) / (1 + i / 10), 1.25],
  ["longrope, beyond it", longrope, 301, (i: number) => base(i) / (2 + i), 1.25],
] as const) {
  test(`${name}: frequencies and tables are those of the formula`, () => {
    const frequencies = inverseFrequencies(rope, positions);
    const { cos, sin } = ropeTables(rope, positions);
    assert.deepEqual([frequencies.length, cos.length, sin.length], [32, 32 * positions, 32 * positions]);
    for (let i = 0; i < 32; i++) {
      const exact = frequency(i);
      within(frequencies[i], exact, 6e-7 * exact, `frequency ${i}`);
      for (let p = 0; p < positions; p++) {
        // The angle carries the relative error of the frequency, the result half a unit in the last place.
        const tolerance = 7e-7 * p * exact + 1.2e-7;
        within(cos[p * 32 + i], scale * Math.cos(p * exact), scale * tolerance, `cos ${p}, ${i}`);
        within(sin[p * 32 + i], scale * Math.sin(p * exact), scale * tolerance, `sin ${p}, ${i}`);
      }
    }
  });
}

test("llama3: the frequencies of this model lie in all three bands", () => {
  const bands = Array.from({ length: 32 }, (_, i) => metaScaling(base(i)) / base(i));
  assert.ok(bands.some((ratio) => ratio === 1));
  assert.ok(bands.some((ratio) => ratio > 0.125 && ratio < 1));
  assert.ok(bands.some((ratio) => ratio === 0.125));
});

test("angles are rounded to float32, as in transformers", () => {
  // 12345 * f32(1e4^(-2/16)) = 3903.83175; its nearest float32 is 4e-5 off, which moves the cosine by as much.
  const rope: RopeSpec = { type: "default", theta: 10_000, rotaryDim: 16 };
  const { cos } = ropeTables(rope, 12_346);
  const frequency = Math.fround(1 / Math.fround(10_000 ** 0.125));
  const rounded = Math.fround(12_345 * frequency);
  assert.notEqual(rounded, 12_345 * frequency);
  assert.equal(cos[12_345 * 8 + 1], Math.fround(Math.cos(rounded)));
});

test("a sequence of no positions has empty tables", () => {
  assert.equal(ropeTables(plain, 0).cos.length, 0);
});

function within(actual: number | undefined, expected: number, tolerance: number, what: string): void {
  const difference = Math.abs((actual ?? Number.NaN) - expected);
  if (!(difference <= tolerance)) assert.fail(`${what}: ${actual} instead of ${expected} (± ${tolerance})`);
}
