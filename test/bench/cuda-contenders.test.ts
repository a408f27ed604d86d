import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { computes, cudaContenders } from "../../src/bench/cuda-contenders.ts";
import { loadTuneTable } from "../../src/bench/tune-table.ts";
import { loadAddon } from "../../src/native/addon.ts";

const configs = loadAddon().cudaGemmConfigs();
const smCount = 132;
const tokens = [1, 2, 8, 16, 33, 64, 128, 257, 512, 1024, 4096, 8192];
const shapes = [
  { n: 4096, k: 4096 },
  { n: 28672, k: 4096 },
  { n: 4096, k: 14336 },
  { n: 16, k: 16 },
];

/** The kind of weights that the name of a configuration begins with. */
const kinds = {
  fp16: /^(plain16_|cublaslt$)/,
  "nested-fp16": /^nested16_/,
  "nested-fp8": /^(w8a16_|w8a8_|cublaslt_rowwise$)/,
  fp8: /^cublaslt(_rowwise)?$/,
} as const;

test("every precision has a contender everywhere, each named once and of the right kind", () => {
  for (const precision of Object.keys(kinds) as (keyof typeof kinds)[]) {
    for (const shape of shapes) {
      for (const m of tokens) {
        const found = cudaContenders(configs, precision, { ...shape, m }, smCount);
        const names = found.map(({ config }) => config);
        assert.ok(names.length > 0, `${precision} at ${m}`);
        assert.equal(new Set(names).size, names.length);
        for (const { kernel, config } of found) {
          assert.equal(kernel, precision);
          assert.match(config, kinds[precision]);
        }
      }
    }
  }
});

test("every entry of the shipped table names a kernel that is still there", async () => {
  const shipped = fileURLToPath(new URL("../../kernels/tune/h100.json", import.meta.url));
  const { devices } = await loadTuneTable(shipped);
  const entries = Object.values(devices).flatMap((device) => device.entries);
  assert.ok(entries.length > 500);
  // Dispatch would pass over it, and nobody would see.
  assert.deepEqual(
    entries.filter(({ kernel, config }) => !computes(configs, kernel, config)),
    [],
  );
});

test("the baselines come first, FP8 with both kinds of scales", () => {
  const point = { n: 4096, k: 4096, m: 64 };
  const names = (precision: "fp16" | "fp8") =>
    cudaContenders(configs, precision, point, smCount).map(({ config }) => config);
  assert.equal(names("fp16")[0], "cublaslt");
  assert.deepEqual(names("fp8"), ["cublaslt", "cublaslt_rowwise"]);
});

test("few tokens take a narrow tile, many a wide one", () => {
  const first = (m: number) => {
    const [best] = cudaContenders(configs, "nested-fp16", { n: 28672, k: 4096, m }, smCount);
    return configs.find(({ name }) => best?.config.startsWith(`${name}/`));
  };
  assert.ok((first(1)?.blockTokens ?? 999) <= 16);
  assert.ok((first(8192)?.blockTokens ?? 0) >= 192);
});

test("split is a contender where the launch plan cuts tiles, which depends on the stages of a step", () => {
  // 33 or 66 tiles of 8 steps on 132 SMs. With 3.5 steps for an exchange, quarters end at 2 + 3.5 x 1.5 < 8; with 7, no parts do.
  const names = cudaContenders(configs, "nested-fp16", { n: 4224, k: 1024, m: 128 }, smCount).map(
    ({ config }) => config,
  );
  assert.ok(names.includes("nested16_128x128_s6w4_c1/split"));
  assert.ok(names.includes("nested16_64x128k2_s4w4_c1/whole"));
  assert.ok(!names.includes("nested16_64x128k2_s4w4_c1/split"));
});

test("at these points the first is within 15 % of the best that was measured", () => {
  // Microseconds on an H100, cold weights, 2026-11-23: every contender of these points that came within 15 %.
  const measured = [
    {
      precision: "nested-fp16",
      n: 10240,
      k: 8192,
      m: 1,
      good: {
        "nested16_64x8k4_s5w5_c1/stream": 58.2,
        "nested16_64x16k4_s5w4_c1/stream": 58.4,
        "nested16_64x16k2_s8w8_c1/split-last": 58.4,
        "nested16_64x16k4_s5w4_c1/split-last": 58.5,
        "nested16_64x8k2_s9w9_c1/split-last": 58.7,
        "nested16_64x8k2_s9w9_c1/stream": 58.7,
        "nested16_64x8k4_s5w5_c1/split-last": 58.8,
        "nested16_64x16k2_s8w8_c1/stream": 58.9,
        "nested16_64x16k4_s5w4_c1/split": 60.1,
        "nested16_64x8k4_s5w5_c1/split": 60.3,
        "nested16_64x16k2_s8w8_c1/split": 61.6,
        "nested16_64x8k2_s9w9_c1/split": 62.2,
        "nested16_64x16k4_s5w4_c1/whole": 65.6,
        "nested16_64x8k4_s5w5_c1/whole": 65.6,
      },
    },
    {
      precision: "nested-fp16",
      n: 4096,
      k: 4096,
      m: 128,
      good: {
        "nested16_64x128k2_s4w4_c1/split": 16.6,
        "nested16_64x128k2_s4w4_c2/split": 16.8,
        "nested16_64x128k2_s4w4_c2/stream": 16.8,
        "nested16_64x64k2_s6w5_c1/split": 17.0,
        "nested16_64x128_s8w6_c2/stream": 17.0,
        "nested16_64x128k2_s4w4_c1/whole": 17.1,
        "nested16_64x64k2_s6w5_c1/whole": 17.2,
        "nested16_64x64k2_s6w6_c2/split": 17.2,
        "nested16_64x64k2_s6w6_c2/whole": 17.2,
        "nested16_64x128_s8w6_c2/split": 17.4,
        "nested16_64x128k2_s4w4_c1/stream": 17.4,
        "nested16_64x128k2_s4w4_c2/whole": 17.6,
        "nested16_64x64k2_s6w6_c2/stream": 18.4,
      },
    },
    {
      precision: "nested-fp16",
      n: 5120,
      k: 17920,
      m: 512,
      good: {
        "nested16_128x256_s4w2_t2/stream": 152.5,
        "nested16_128x256_s4w3_t2/stream": 152.7,
        "nested16_128x256_s4w2_t2/split": 168.8,
        "nested16_128x256_s4w3_c2/split": 169.1,
        "nested16_128x256_s4w2_c1/split": 169.2,
        "nested16_128x256_s4w3_c1/split": 169.4,
        "nested16_128x256_s4w3_t2/split": 169.9,
        "nested16_128x256_s4w2_c2/split": 171.1,
        "nested16_128x192_s4w3_c2/whole": 175.2,
        "nested16_128x192_s4w3_c2/split": 175.4,
      },
    },
    {
      precision: "nested-fp16",
      n: 6144,
      k: 5120,
      m: 1024,
      good: {
        "nested16_128x256_s4w3_t2/stream": 107.8,
        "nested16_128x256_s4w3_c2/split-last": 108.3,
        "nested16_128x256_s4w3_c1/split-last": 108.8,
        "nested16_128x256_s4w3_t2/split-last": 108.8,
        "nested16_128x256_s4w2_c2/split-last": 109.7,
        "nested16_128x256_s4w3_t2/split": 109.9,
        "nested16_128x256_s4w2_t2/stream": 110.4,
        "nested16_128x256_s4w3_c2/split": 110.4,
        "nested16_128x256_s4w2_t2/split-last": 110.7,
        "nested16_128x256_s4w2_c1/split-last": 110.8,
        "nested16_128x256_s4w3_c1/split": 110.9,
        "nested16_128x256_s4w2_t2/split": 111.6,
        "nested16_128x256_s4w2_c2/split": 111.8,
        "nested16_128x256_s4w2_c1/split": 112.3,
        "nested16_128x256_s4w3_c1/stream": 115.4,
        "nested16_192x128_s5w3_t2/whole": 115.8,
        "nested16_192x128_s5w3_t2/split-last": 116.0,
        "nested16_192x128_s5w3_t2/split": 116.0,
        "nested16_128x256_s4w3_c2/stream": 116.5,
        "nested16_128x256_s4w2_c2/stream": 117.0,
        "nested16_128x256_s4w2_c1/stream": 117.6,
        "nested16_192x128_s5w3_t2/stream": 122.6,
      },
    },
    {
      precision: "nested-fp16",
      n: 5120,
      k: 5120,
      m: 4096,
      good: {
        "nested16_128x256_s4w3_c2/whole": 312.7,
        "nested16_128x256_s4w3_c1/split-last": 314.9,
        "nested16_128x256_s4w3_c1/whole": 316.8,
        "nested16_128x256_s4w3_c1/split": 316.9,
        "nested16_128x256_s4w3_c2/split": 328.1,
        "nested16_128x256_s4w2_t2/split-last": 335.1,
        "nested16_128x256_s4w3_c2/split-last": 337.2,
        "nested16_128x256_s4w3_c2/stream": 337.7,
        "nested16_128x256_s4w3_t2/split": 338.9,
        "nested16_128x256_s4w3_t2/whole": 339.3,
        "nested16_128x256_s4w3_t2/split-last": 341.0,
        "nested16_128x256_s4w2_t2/stream": 343.9,
        "nested16_128x256_s4w2_t2/split": 346.0,
        "nested16_128x256_s4w2_c2/split": 346.8,
        "nested16_128x256_s4w2_t2/whole": 347.2,
        "nested16_128x256_s4w2_c2/whole": 347.7,
        "nested16_128x256_s4w3_t2/stream": 348.2,
        "nested16_128x256_s4w2_c2/split-last": 348.8,
        "nested16_128x256_s4w2_c1/whole": 351.6,
        "nested16_128x256_s4w2_c1/split-last": 354.0,
        "nested16_128x256_s4w2_c1/split": 354.8,
        "nested16_128x256_s4w2_c2/stream": 356.6,
      },
    },
    {
      precision: "nested-fp8",
      n: 51200,
      k: 5120,
      m: 8,
      good: {
        "w8a8_64x16k2_s8w8_c1/stream": 87.5,
        "w8a16_64x16k4_s8w8_c1/stream": 88.8,
        "w8a16_64x8k4_s9w9_c1/stream": 88.9,
        "w8a8_64x16k2_s8w8_c1/whole": 89.1,
        "w8a8_64x16k2_s8w8_c1/split-last": 89.2,
        "w8a16_64x8k4_s9w9_c1/whole": 89.3,
        "w8a16_64x8k4_s9w9_c1/split-last": 90.0,
        "w8a16_64x16k4_s8w8_c1/split-last": 90.2,
        "w8a16_64x16k4_s8w8_c1/whole": 90.2,
        "w8a8_64x16k2_s8w8_c1/split": 90.8,
        "w8a16_64x8k4_s9w9_c1/split": 95.4,
        "w8a16_64x16k4_s8w8_c1/split": 95.8,
        cublaslt_rowwise: 98.8,
      },
    },
    {
      precision: "nested-fp8",
      n: 28672,
      k: 4096,
      m: 16,
      good: {
        "w8a8_64x32k2_s8w8_c1/split": 41.6,
        "w8a8_64x32k2_s8w8_c1/whole": 41.7,
        "w8a16_64x16k4_s8w8_c1/stream": 41.8,
        "w8a16_64x16k4_s8w8_c1/split-last": 42.0,
        "w8a8_64x32k2_s8w8_c1/stream": 42.9,
        "w8a8_64x16k2_s8w8_c1/stream": 43.0,
        "w8a8_64x16k2_s8w8_c1/split": 43.4,
        "w8a8_64x16k2_s8w8_c1/split-last": 43.4,
        "w8a8_64x32k2_s8w8_c1/split-last": 43.4,
        "w8a16_64x16k4_s8w8_c1/split": 43.5,
        "w8a16_64x16k4_s8w8_c1/whole": 43.6,
        "w8a8_64x16k2_s8w8_c1/whole": 43.7,
      },
    },
    {
      precision: "nested-fp8",
      n: 4096,
      k: 14336,
      m: 64,
      good: {
        "w8a8_64x64k2_s6w6_c2/stream": 23.6,
        "w8a8_64x64k2_s6w6_c2/split": 23.9,
        "w8a8_64x64k2_s6w6_c2/whole": 24.1,
        "w8a16_64x64k2_s8w8_c1/split": 25.0,
        "w8a8_128x64_s8w8_c1/split": 25.8,
        "w8a8_64x32k2_s8w8_c1/whole": 25.9,
        "w8a8_64x32k2_s8w8_c1/split": 26.2,
      },
    },
    {
      precision: "nested-fp8",
      n: 5120,
      k: 32768,
      m: 512,
      good: {
        "w8a8_128x128_s6w6_t2/split-last": 138.6,
        "w8a8_128x128_s6w6_t2/split": 140.9,
        "w8a8_128x256_s4w4_t2/stream": 141.0,
        "w8a8_128x128_s6w6_c1/split-last": 144.1,
        "w8a8_128x128_s6w6_c1/split": 155.6,
        "w8a8_128x256_s4w4_t2/split": 156.7,
        "w8a8_128x256_s4w4_c2/split": 157.1,
      },
    },
    {
      precision: "nested-fp8",
      n: 6144,
      k: 4096,
      m: 2048,
      good: {
        cublaslt_rowwise: 82.1,
        "w8a8_128x256_s4w4_t2/split": 91.4,
        "w8a8_128x256_s4w4_t2/split-last": 91.6,
        "w8a8_128x256_s4w4_t2/whole": 91.9,
        "w8a8_128x256_s4w4_c2/split-last": 92.1,
        "w8a8_128x256_s4w4_c2/split": 92.5,
        "w8a8_128x256_s4w4_c2/whole": 92.8,
        "w8a8_128x128_s6w6_c1/split": 93.2,
        "w8a8_128x128_s6w6_c1/whole": 93.6,
        "w8a8_128x128_s6w6_t2/split": 93.9,
        "w8a8_128x128_s6w6_c1/split-last": 93.9,
        "w8a8_128x128_s6w6_t2/whole": 94.1,
      },
    },
  ] as const;
  for (const { precision, m, n, k, good } of measured) {
    const [first] = cudaContenders(configs, precision, { n, k, m }, smCount);
    assert.ok(first && first.config in good, `${precision}, n ${n}, k ${k}, m ${m}: ${first?.config}`);
  }
});
