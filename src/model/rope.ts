import { halfToNumber, roundToHalf } from "../codec/reference.ts";
import type { RopeSpec } from "./rope-config.ts";

/** Row-major [positions, rotaryDim / 2]: entry p, i is the angle p * frequency i. */
export type RopeTables = { readonly cos: Float32Array; readonly sin: Float32Array };

/**
 * How the inverse frequencies are kept. transformers keeps them in FP32 whatever the dtype of the weights; a script
 * that calls `model.half()` rounds them to FP16 with everything else, which moves later tokens by up to 1e-3.
 */
export type RopeFrequencies = "fp32" | "fp16";

/**
 * The rotation for each position of a sequence, rounded to float32 where transformers rounds. A pair is
 * (x[i], x[i + rotaryDim / 2]); q' = q * cos + rotateHalf(q) * sin. longrope's attention factor is in the tables.
 *
 * @param positions length of the sequence. Not a capacity: longrope chooses its factors by it, so the table of a
 *   shorter sequence is not always the beginning of a longer one's.
 */
export function ropeTables(rope: RopeSpec, positions: number, stored: RopeFrequencies = "fp32"): RopeTables {
  const exact = inverseFrequencies(rope, positions);
  const frequencies = stored === "fp16" ? exact.map((value) => halfToNumber(roundToHalf(value))) : exact;
  const scale = f32(rope.type === "longrope" ? rope.attentionFactor : 1);
  const cos = new Float32Array(positions * frequencies.length);
  const sin = new Float32Array(positions * frequencies.length);
  let at = 0;
  for (let position = 0; position < positions; position++) {
    for (const frequency of frequencies) {
      const angle = f32(position * frequency);
      cos[at] = f32(Math.cos(angle)) * scale;
      sin[at] = f32(Math.sin(angle)) * scale;
      at++;
    }
  }
  return { cos, sin };
}

/**
 * The angle per position of each pair, `rotaryDim / 2` values, as transformers' modeling_rope_utils.py computes
 * them for a sequence of `positions` ids. Its tensors are float32, and torch takes scalar / tensor as
 * scalar * (1 / tensor), hence the many roundings.
 */
export function inverseFrequencies(rope: RopeSpec, positions: number): Float32Array {
  const powers = Float32Array.from(
    { length: rope.rotaryDim / 2 },
    (_, i) => f32(rope.theta) ** f32((2 * i) / rope.rotaryDim),
  );
  switch (rope.type) {
    case "default":
      return powers.map((power) => 1 / power);
    case "linear":
      return powers.map((power) => f32(1 / power) / f32(rope.factor));
    case "llama3":
      return powers.map((power) => llama3(f32(1 / power), rope));
    case "longrope": {
      const factors = positions > rope.originalMaxPositions ? rope.longFactor : rope.shortFactor;
      return powers.map((power, i) => 1 / f32(f32(factors[i] ?? 1) * power));
    }
  }
}

/** Long wavelengths are stretched by the factor, short ones kept, and those between blended. */
function llama3(frequency: number, rope: Extract<RopeSpec, { type: "llama3" }>): number {
  const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions: original } = rope;
  const wavelength = f32(f32(1 / frequency) * f32(2 * Math.PI));
  if (wavelength > f32(original / low)) return f32(frequency / factor);
  if (wavelength < f32(original / high)) return frequency;
  const cycles = f32(f32(1 / wavelength) * f32(original));
  const kept = f32(f32(cycles - f32(low)) / f32(high - low));
  return f32(f32(f32(f32(1 - kept) * frequency) / f32(factor)) + f32(kept * frequency));
}

const f32 = Math.fround;
