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
  // 33 or 66 tiles of 8 steps on 132 SMs. With 3.5 steps lost per part, quarters end at 2 + 3.5 < 8; with 7, no parts do.
  const names = cudaContenders(configs, "nested-fp16", { n: 4224, k: 1024, m: 128 }, smCount).map(
    ({ config }) => config,
  );
  assert.ok(names.includes("nested16_128x128_s6w3_c1/split"));
  assert.ok(names.includes("nested16_64x128k2_s4w3_c1/whole"));
  assert.ok(!names.includes("nested16_64x128k2_s4w3_c1/split"));
});

test("at these points the first is within 15 % of the best that was measured", () => {
  // Microseconds on an H100, cold weights, 2026-11-22: every contender of these points that came within 15 %.
  const measured = [
    {
      precision: "nested-fp16",
      n: 10240,
      k: 8192,
      m: 1,
      good: {
        "nested16_64x8k2_s9w9_c1/stream": 58.8,
        "nested16_64x8k4_s5w5_c1/stream": 58.9,
        "nested16_64x16k4_s5w4_c1/stream": 59.0,
        "nested16_64x16k2_s8w8_c1/stream": 59.4,
        "nested16_64x16k4_s5w4_c1/split-last": 59.8,
        "nested16_64x8k4_s5w5_c1/split-last": 59.9,
        "nested16_128x16k2_s5w5_c1/stream": 60.0,
        "nested16_64x8k2_s9w9_c1/split-last": 60.2,
        "nested16_64x16k2_s8w8_c1/split-last": 60.3,
        "nested16_128x16k2_s5w5_c1/split": 60.7,
        "nested16_64x8k4_s5w5_c1/split": 61.5,
        "nested16_64x16k4_s5w4_c1/split": 62.6,
        "nested16_64x8k2_s9w9_c1/split": 62.6,
        "nested16_64x16k2_s8w8_c1/split": 62.6,
        "nested16_128x16k2_s5w5_c1/whole": 63.4,
      },
    },
    {
      precision: "nested-fp16",
      n: 4096,
      k: 4096,
      m: 128,
      good: {
        "nested16_64x128_s8w4_c2/split": 16.6,
        "nested16_64x128_s8w4_c2/stream": 16.9,
        "nested16_64x128k2_s4w3_c1/split": 16.9,
        "nested16_64x128k2_s4w3_c2/split": 17.0,
        "nested16_64x128k2_s4w3_c2/stream": 17.1,
        "nested16_64x64k2_s6w5_c1/split": 17.5,
        "nested16_64x64k2_s6w5_c1/whole": 17.6,
        "nested16_64x128k2_s4w3_c1/stream": 17.8,
        "nested16_64x64k2_s6w6_c2/split": 17.9,
        "nested16_64x64k2_s6w6_c2/whole": 18.1,
      },
    },
    {
      precision: "nested-fp16",
      n: 5120,
      k: 17920,
      m: 512,
      good: {
        "nested16_128x256_s4w2_t2/stream": 151.0,
        "nested16_128x256_s4w2_c2/split": 161.3,
        "nested16_128x256_s4w2_t2/split": 161.6,
        "nested16_128x256_s4w2_c1/split": 163.1,
      },
    },
    {
      precision: "nested-fp16",
      n: 6144,
      k: 5120,
      m: 1024,
      good: {
        "nested16_128x256_s4w2_c1/split-last": 109.7,
        "nested16_128x256_s4w2_t2/split-last": 110.1,
        "nested16_128x256_s4w2_c2/split-last": 110.4,
        "nested16_128x256_s4w2_t2/split": 110.7,
        "nested16_128x256_s4w2_c1/split": 111.0,
        "nested16_128x256_s4w2_c2/split": 111.6,
        "nested16_128x256_s4w2_t2/stream": 114.2,
        "nested16_128x256_s4w2_c1/stream": 125.1,
        "nested16_128x256_s4w2_c2/stream": 125.5,
      },
    },
    {
      precision: "nested-fp16",
      n: 5120,
      k: 5120,
      m: 4096,
      good: {
        "nested16_128x256_s4w2_c1/whole": 323.8,
        "nested16_128x256_s4w2_c1/split-last": 325.1,
        "nested16_128x256_s4w2_c1/split": 328.1,
        "nested16_128x256_s4w2_c2/split": 343.4,
        "nested16_128x256_s4w2_c2/split-last": 343.7,
        "nested16_128x256_s4w2_c2/whole": 343.8,
        "nested16_128x256_s4w2_t2/whole": 347.4,
        "nested16_128x256_s4w2_t2/split-last": 352.4,
        "nested16_128x256_s4w2_t2/split": 355.4,
        "nested16_128x256_s4w2_c2/stream": 359.7,
        "nested16_128x256_s4w2_t2/stream": 366.2,
      },
    },
    {
      precision: "nested-fp8",
      n: 51200,
      k: 5120,
      m: 8,
      good: {
        "w8a8_64x16k2_s8w8_c1/stream": 88.4,
        "w8a8_64x16k2_s8w8_c1/whole": 91.2,
        "w8a16_128x16k2_s8w8_c1/stream": 91.4,
        "w8a16_64x8k4_s9w9_c1/stream": 91.9,
        "w8a16_64x16k4_s8w8_c1/stream": 92.6,
        "w8a16_64x8k4_s9w9_c1/whole": 93.2,
        "w8a8_64x16k2_s8w8_c1/split-last": 94.5,
        "w8a16_64x16k4_s8w8_c1/whole": 95.1,
        "w8a16_64x8k4_s9w9_c1/split-last": 96.7,
        "w8a16_64x16k4_s8w8_c1/split-last": 96.8,
        "w8a16_128x16k2_s8w8_c1/split-last": 99.1,
        cublaslt_rowwise: 99.2,
        "w8a16_128x16k2_s8w8_c1/whole": 101.1,
      },
    },
    {
      precision: "nested-fp8",
      n: 28672,
      k: 4096,
      m: 16,
      good: {
        "w8a16_64x16k4_s8w8_c1/stream": 41.3,
        "w8a8_64x16k2_s8w8_c1/stream": 41.7,
        "w8a8_64x32k2_s8w8_c1/stream": 41.8,
        "w8a16_128x16k2_s8w8_c1/split-last": 42.0,
        "w8a16_128x16k2_s8w8_c1/whole": 42.2,
        "w8a16_128x16k2_s8w8_c1/split": 42.3,
        "w8a8_64x32k2_s8w8_c1/split-last": 42.4,
        "w8a16_128x32k2_s8w8_c1/split": 42.4,
        "w8a8_64x32k2_s8w8_c1/split": 42.4,
        "w8a8_64x32k2_s8w8_c1/whole": 42.6,
        "w8a16_128x32k2_s8w8_c1/split-last": 42.7,
        "w8a16_128x32k2_s8w8_c1/whole": 42.8,
        "w8a8_64x16k2_s8w8_c1/split-last": 42.8,
        "w8a8_64x16k2_s8w8_c1/split": 43.1,
        "w8a16_64x16k4_s8w8_c1/split-last": 43.5,
        "w8a16_128x16k2_s8w8_c1/stream": 43.6,
        "w8a16_64x16k4_s8w8_c1/split": 44.0,
        "w8a8_64x16k2_s8w8_c1/whole": 44.4,
        "w8a16_128x32k2_s8w8_c1/stream": 44.4,
        "w8a16_64x16k4_s8w8_c1/whole": 45.5,
      },
    },
    {
      precision: "nested-fp8",
      n: 4096,
      k: 14336,
      m: 64,
      good: {
        "w8a8_64x64k2_s6w6_c2/stream": 23.7,
        "w8a8_64x64k2_s6w6_c2/split": 24.4,
        "w8a8_128x64_s8w8_c1/split": 24.5,
        "w8a8_64x64k2_s6w6_c2/whole": 24.7,
        "w8a8_64x32k2_s8w8_c1/whole": 25.9,
        "w8a8_64x32k2_s8w8_c1/split": 26.0,
        "w8a8_128x128_s6w6_c1/split": 26.6,
        "w8a16_64x64k2_s8w8_c1/split": 26.8,
        "w8a8_128x64_s8w8_c1/stream": 26.8,
      },
    },
    {
      precision: "nested-fp8",
      n: 5120,
      k: 32768,
      m: 512,
      good: {
        "w8a8_128x256_s4w4_t2/stream": 134.8,
        "w8a8_192x128_s5w5_t2/whole": 145.1,
        "w8a8_128x192_s5w5_c2/split": 145.7,
        "w8a8_128x192_s5w5_c2/whole": 146.1,
        "w8a8_128x256_s4w4_t2/split": 149.1,
        "w8a8_128x256_s4w4_c2/split": 150.3,
      },
    },
    {
      precision: "nested-fp8",
      n: 6144,
      k: 4096,
      m: 2048,
      good: {
        cublaslt_rowwise: 81.0,
        "w8a8_192x128_s5w5_t2/split-last": 89.8,
        "w8a8_192x128_s5w5_t2/split": 89.8,
        "w8a8_192x128_s5w5_t2/whole": 90.1,
        "w8a8_128x256_s4w4_t2/split-last": 90.1,
        "w8a8_128x256_s4w4_c2/split": 90.3,
        "w8a8_128x256_s4w4_t2/split": 90.4,
        "w8a8_128x256_s4w4_c2/split-last": 90.4,
        "w8a8_128x256_s4w4_c2/whole": 90.5,
        "w8a8_128x256_s4w4_t2/whole": 90.9,
        "w8a8_128x192_s5w5_c2/whole": 92.0,
      },
    },
  ] as const;
  for (const { precision, m, n, k, good } of measured) {
    const [first] = cudaContenders(configs, precision, { n, k, m }, smCount);
    assert.ok(first && first.config in good, `${precision}, n ${n}, k ${k}, m ${m}: ${first?.config}`);
  }
});
