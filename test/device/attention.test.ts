import assert from "node:assert/strict";
import { test } from "node:test";

import type { AttentionOptions, Device } from "../../src/device/device.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { allDevices, testEach } from "./implementations.ts";
import { activationValues, assertClose, assertSameBits, resultOf, uploaded } from "./values.ts";

type Inputs = { readonly q: Float32Array; readonly k: Float32Array; readonly v: Float32Array };

function inputsFor({ sequenceLengths, heads, kvHeads, headDim }: AttentionOptions, seed: number): Inputs {
  const rows = sequenceLengths.reduce((a, b) => a + b, 0);
  const random = seededRandom(seed);
  return {
    q: activationValues(rows * heads * headDim, random),
    k: activationValues(rows * kvHeads * headDim, random),
    v: activationValues(rows * kvHeads * headDim, random),
  };
}

/** One query at a time, in double precision. */
function naiveAttention({ q, k, v }: Inputs, options: AttentionOptions): number[] {
  const { sequenceLengths, heads, kvHeads, headDim, scale, slidingWindow = Infinity } = options;
  const out: number[] = new Array(q.length).fill(0);
  let start = 0;
  for (const length of sequenceLengths) {
    for (let i = 0; i < length; i++) {
      for (let head = 0; head < heads; head++) {
        const kvHead = Math.floor((head * kvHeads) / heads);
        const query = (start + i) * heads * headDim + head * headDim;
        const at = (j: number) => (start + j) * kvHeads * headDim + kvHead * headDim;
        const seen = Array.from({ length: i + 1 }, (_, j) => j).filter((j) => j > i - slidingWindow);
        const scores = seen.map((j) => {
          let sum = 0;
          for (let d = 0; d < headDim; d++) sum += (q[query + d] ?? 0) * (k[at(j) + d] ?? 0);
          return sum * scale;
        });
        const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const weights = scores.map((score) => Math.exp(score - most));
        const total = weights.reduce((a, b) => a + b, 0);
        for (const [n, j] of seen.entries()) {
          for (let d = 0; d < headDim; d++) {
            out[query + d] = (out[query + d] ?? 0) + ((weights[n] ?? 0) / total) * (v[at(j) + d] ?? 0);
          }
        }
      }
    }
    start += length;
  }
  return out;
}

async function attention(device: Device, { q, k, v }: Inputs, options: AttentionOptions) {
  const { heads, kvHeads, headDim } = options;
  const rows = q.length / (heads * headDim);
  const inputs = [
    uploaded(device, q, rows, heads * headDim),
    uploaded(device, k, rows, kvHeads * headDim),
    uploaded(device, v, rows, kvHeads * headDim),
  ] as const;
  return resultOf(device, rows, heads * headDim, (out) => device.attention(...inputs, out, options));
}

const lengthsOf = (...lengths: number[]) => Int32Array.from(lengths);

const cases: Record<string, AttentionOptions> = {
  "one token": { sequenceLengths: lengthsOf(1), heads: 2, kvHeads: 2, headDim: 8, scale: 0.3 },
  "one query per key head": {
    sequenceLengths: lengthsOf(40),
    heads: 3,
    kvHeads: 3,
    headDim: 16,
    scale: 0.25,
  },
  "grouped queries": { sequenceLengths: lengthsOf(37), heads: 8, kvHeads: 2, headDim: 20, scale: 0.2 },
  "several sequences": {
    sequenceLengths: lengthsOf(1, 16, 17, 33, 5),
    heads: 2,
    kvHeads: 1,
    headDim: 12,
    scale: 0.3,
  },
  "more positions than a block": {
    sequenceLengths: lengthsOf(300),
    heads: 2,
    kvHeads: 1,
    headDim: 8,
    scale: 0.4,
  },
  "a head wider than a block": {
    sequenceLengths: lengthsOf(18),
    heads: 1,
    kvHeads: 1,
    headDim: 272,
    scale: 0.06,
  },
  "a window": {
    sequenceLengths: lengthsOf(70, 9),
    heads: 2,
    kvHeads: 1,
    headDim: 8,
    scale: 0.3,
    slidingWindow: 7,
  },
  "a window over blocks": {
    sequenceLengths: lengthsOf(600),
    heads: 1,
    kvHeads: 1,
    headDim: 8,
    scale: 0.3,
    slidingWindow: 270,
  },
  "a window of one": {
    sequenceLengths: lengthsOf(20),
    heads: 1,
    kvHeads: 1,
    headDim: 8,
    scale: 1,
    slidingWindow: 1,
  },
};

for (const [title, options] of Object.entries(cases)) {
  testEach(`attention with ${title} is the naive one`, async (device) => {
    const inputs = inputsFor(options, 7);
    const most = inputs.v.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const out = await attention(device, inputs, options);
    assertClose(out, naiveAttention(inputs, options), () => 2e-5 * most, title);
  });
}

testEach("a window sees exactly the positions i - window < j <= i", async (device) => {
  // Equal scores make the output the mean of what is seen: position j has value 2^-j in column j % 16.
  const tokens = 40;
  const options = {
    sequenceLengths: lengthsOf(tokens),
    heads: 1,
    kvHeads: 1,
    headDim: tokens,
    scale: 1,
    slidingWindow: 5,
  };
  const zeros = new Float32Array(tokens * tokens);
  const identity = Float32Array.from(zeros, (_, at) => (at % (tokens + 1) === 0 ? 1 : 0));
  const out = await attention(device, { q: zeros, k: zeros, v: identity }, options);
  for (let i = 0; i < tokens; i++) {
    for (let j = 0; j < tokens; j++) {
      const seen = j > i - 5 && j <= i;
      assert.equal(out[i * tokens + j], seen ? Math.fround(1 / Math.min(i + 1, 5)) : 0, `i ${i}, j ${j}`);
    }
  }
});

testEach("a window as long as the sequence is none", async (device) => {
  const options = { sequenceLengths: lengthsOf(50, 30), heads: 2, kvHeads: 2, headDim: 8, scale: 0.3 };
  const inputs = inputsFor(options, 3);
  const out = await attention(device, inputs, options);
  for (const slidingWindow of [50, 51, 2 ** 31 - 1]) {
    assertSameBits(await attention(device, inputs, { ...options, slidingWindow }), out, `${slidingWindow}`);
  }
});

testEach("large scores neither overflow nor lose the sum", async (device) => {
  const options = { sequenceLengths: lengthsOf(33), heads: 1, kvHeads: 1, headDim: 4, scale: 100 };
  const inputs = inputsFor(options, 4);
  const out = await attention(device, inputs, options);
  // The largest score wins by far nearly everywhere; where two are close, their difference is rounded.
  assertClose(out, naiveAttention(inputs, options), () => 0.02, "large scores");
});

testEach("sequences of one batch do not see each other", async (device) => {
  const shape = { heads: 2, kvHeads: 1, headDim: 8, scale: 0.3 };
  const both = { ...shape, sequenceLengths: lengthsOf(20, 25) };
  const inputs = inputsFor(both, 5);
  const out = await attention(device, inputs, both);
  const rest = {
    q: inputs.q.slice(20 * 16),
    k: inputs.k.slice(20 * 8),
    v: inputs.v.slice(20 * 8),
  };
  const alone = await attention(device, rest, { ...shape, sequenceLengths: lengthsOf(25) });
  assertSameBits(out.slice(20 * 16), alone, "the second sequence");
});

testEach("q, k and v may be columns of one matrix", async (device) => {
  const options = { sequenceLengths: lengthsOf(35), heads: 2, kvHeads: 1, headDim: 8, scale: 0.3 };
  const inputs = inputsFor(options, 6);
  const fused = new Float32Array(35 * 32);
  const put = (values: Float32Array, cols: number, first: number) =>
    values.forEach((value, at) => {
      fused[Math.floor(at / cols) * 32 + first + (at % cols)] = value;
    });
  put(inputs.q, 16, 0);
  put(inputs.k, 8, 16);
  put(inputs.v, 8, 24);
  const x = uploaded(device, fused, 35, 32);
  const parts = [device.columns(x, 0, 16), device.columns(x, 16, 8), device.columns(x, 24, 8)] as const;
  const out = await resultOf(device, 35, 16, (to) => device.attention(...parts, to, options));
  assertSameBits(out, await attention(device, inputs, options), "fused");
});

test("all implementations and numbers of threads give the same bits", async () => {
  const [first, ...others] = allDevices();
  assert.ok(first !== undefined);
  for (const [title, options] of Object.entries(cases)) {
    const inputs = inputsFor(options, 8);
    const expected = await attention(first, inputs, options);
    for (const device of others) {
      assertSameBits(await attention(device, inputs, options), expected, `${device.name}: ${title}`);
    }
  }
});
