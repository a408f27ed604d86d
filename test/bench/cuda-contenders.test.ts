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
  "nested-fp8": /^(w8a16_|w8a8_|a8w8_|cublaslt_rowwise$)/,
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
        "nested16_64x16k4_s5w4_c1/split-last": 57.4,
        "nested16_64x16k2_s8w8_c1/split-last": 57.4,
        "nested16_64x8k4_s5w5_c1/split-last": 57.6,
        "nested16_64x8k2_s9w9_c1/split-last": 57.9,
        "nested16_64x8k4_s5w5_c1/split": 58.2,
        "nested16_64x16k4_s5w4_c1/split": 58.5,
        "nested16_64x16k2_s8w8_c1/stream": 58.8,
        "nested16_64x8k2_s9w9_c1/stream": 58.8,
        "nested16_64x8k2_s9w9_c1/split": 58.9,
        "nested16_64x16k2_s8w8_c1/split": 59.1,
        "nested16_64x16k4_s5w4_c1/stream": 59.1,
        "nested16_64x8k4_s5w5_c1/stream": 59.1,
        "nested16_64x8k4_s5w5_c1/whole": 64.5,
        "nested16_64x16k4_s5w4_c1/whole": 64.7,
        "nested16_64x16k2_s8w8_c1/whole": 65.7,
      },
    },
    {
      precision: "nested-fp16",
      n: 4096,
      k: 4096,
      m: 128,
      good: {
        "nested16_64x64k2_s6w6_t2/split": 14.8,
        "nested16_64x64k2_s6w6_t2/whole": 15.0,
        "nested16_64x128k2_s4w4_c1/split": 15.3,
        "nested16_64x128k2_s4w4_c2/split": 15.6,
        "nested16_64x128_s8w6_c2/split": 15.8,
        "nested16_64x128_s8w6_c2/stream": 16.2,
        "nested16_64x128k2_s4w4_c2/stream": 16.3,
        "nested16_128x128_s6w4_c1/split": 16.4,
        "nested16_64x128k2_s4w4_c1/whole": 16.7,
        "nested16_64x64k2_s6w5_c1/split": 16.7,
        "nested16_64x64k2_s6w6_t2/stream": 16.8,
        "nested16_64x64k2_s6w6_c2/split": 16.9,
        "nested16_64x64k2_s6w6_c2/whole": 16.9,
        "nested16_128x128_s6w4_c2/split": 16.9,
        "nested16_64x128k2_s4w4_c2/whole": 17.0,
      },
    },
    {
      precision: "nested-fp16",
      n: 5120,
      k: 17920,
      m: 512,
      good: {
        "nested16_128x256_s4w2_t2/stream": 150.2,
        "nested16_128x256_s4w3_t2/stream": 150.2,
        "nested16_128x176_s5w3_c2/split": 154.5,
        "nested16_128x176_s5w3_c2/whole": 155.9,
        "nested16_128x192_s4w3_c2/whole": 164.0,
        "nested16_128x256_s4w3_c1/split": 164.2,
        "nested16_128x256_s4w2_c1/split": 164.3,
        "nested16_128x256_s4w3_c2/split": 164.5,
        "nested16_128x192_s4w3_c2/split": 164.5,
        "nested16_128x256_s4w2_c2/split": 165.1,
        "nested16_128x256_s4w3_t2/split": 166.5,
        "nested16_128x256_s4w2_t2/split": 166.5,
        "nested16_128x128_s6w4_c2/split-last": 166.8,
        "nested16_64x256_s5w3_c2/split-last": 168.2,
        "nested16_128x128_s6w4_c2/split": 169.8,
        "nested16_128x128_s6w4_c1/split-last": 170.2,
        "nested16_64x256_s5w3_c2/split": 170.2,
        "nested16_128x128_s6w4_t2/split-last": 172.0,
      },
    },
    {
      precision: "nested-fp16",
      n: 6144,
      k: 5120,
      m: 1024,
      good: {
        "nested16_128x256_s4w3_c1/split-last": 110.9,
        "nested16_128x256_s4w2_c1/split-last": 111.0,
        "nested16_128x256_s4w2_c2/split-last": 111.1,
        "nested16_128x256_s4w2_c1/split": 111.2,
        "nested16_128x256_s4w3_t2/split-last": 111.3,
        "nested16_128x256_s4w3_t2/split": 112.0,
        "nested16_128x256_s4w2_t2/split": 112.0,
        "nested16_128x256_s4w2_t2/split-last": 112.1,
        "nested16_128x256_s4w3_c1/split": 112.2,
        "nested16_128x256_s4w3_c2/split-last": 112.7,
        "nested16_128x256_s4w2_c2/split": 112.8,
        "nested16_128x256_s4w3_t2/stream": 113.0,
        "nested16_128x256_s4w3_c2/split": 113.4,
        "nested16_128x256_s4w2_t2/stream": 115.1,
        "nested16_128x256_s4w3_c1/stream": 116.2,
        "nested16_128x256_s4w3_c2/stream": 116.9,
        "nested16_192x128_s5w3_t2/split-last": 118.0,
        "nested16_192x128_s5w3_t2/whole": 118.0,
        "nested16_192x128_s5w3_t2/split": 118.4,
        "nested16_128x256_s4w2_c1/stream": 118.8,
        "nested16_128x256_s4w2_c2/stream": 118.8,
        "nested16_128x176_s5w3_c2/split-last": 120.1,
        "nested16_128x176_s5w3_c2/split": 120.8,
        "nested16_128x128_s6w4_c2/split-last": 123.3,
        "nested16_128x192_s4w3_c2/split-last": 123.6,
        "nested16_192x128_s5w3_t2/stream": 123.7,
        "nested16_128x128_s6w4_c2/whole": 123.9,
        "nested16_128x192_s4w3_c2/split": 124.5,
        "nested16_128x128_s6w4_c2/split": 124.6,
        "nested16_128x128_s6w4_c1/whole": 124.9,
        "nested16_128x128_s6w4_c1/split-last": 125.7,
        "nested16_128x128_s6w4_c1/split": 126.6,
      },
    },
    {
      precision: "nested-fp16",
      n: 5120,
      k: 5120,
      m: 4096,
      good: {
        "nested16_128x256_s4w3_c1/whole": 325.3,
        "nested16_128x256_s4w3_c1/split": 326.3,
        "nested16_128x256_s4w3_c1/split-last": 326.7,
        "nested16_128x256_s4w2_c1/whole": 328.9,
        "nested16_128x256_s4w2_c1/split": 329.6,
        "nested16_128x256_s4w2_c1/split-last": 330.1,
        "nested16_128x256_s4w2_c2/split-last": 337.6,
        "nested16_128x256_s4w2_c2/split": 337.8,
        "nested16_128x256_s4w2_c2/whole": 337.9,
        "nested16_128x256_s4w3_c2/split-last": 338.4,
        "nested16_128x256_s4w3_c2/split": 338.5,
        "nested16_128x256_s4w3_c2/whole": 338.9,
        "nested16_128x256_s4w3_c2/stream": 344.4,
        "nested16_128x256_s4w2_c2/stream": 345.9,
        "nested16_128x256_s4w3_t2/whole": 346.0,
        "nested16_128x256_s4w3_t2/split": 346.7,
        "nested16_128x256_s4w2_t2/split-last": 346.9,
        "nested16_128x256_s4w2_t2/whole": 348.0,
        "nested16_128x256_s4w3_t2/split-last": 348.2,
        "nested16_128x256_s4w2_t2/split": 348.2,
        "nested16_128x256_s4w3_t2/stream": 351.1,
        "nested16_128x256_s4w2_t2/stream": 355.0,
        "nested16_128x192_s4w3_c2/whole": 371.8,
      },
    },
    {
      precision: "nested-fp8",
      n: 51200,
      k: 5120,
      m: 8,
      good: {
        "w8a8_64x16k2_s8w8_c1/stream": 86.8,
        "w8a8_64x16k2_s8w8_c1/split-last": 87.7,
        "w8a8_64x16k2_s8w8_c1/whole": 87.9,
        "w8a16_64x8k4_s9w9_c1/stream": 87.9,
        "w8a16_64x16k4_s8w8_c1/stream": 88.2,
        "w8a8_64x16k2_s8w8_c1/split": 88.8,
        "w8a16_64x8k4_s9w9_c1/whole": 89.3,
        "w8a16_64x8k4_s9w9_c1/split-last": 89.5,
        "w8a16_64x16k4_s8w8_c1/split-last": 89.7,
        "w8a16_64x16k4_s8w8_c1/whole": 89.9,
        "w8a16_64x8k4_s9w9_c1/split": 90.2,
        "w8a16_64x16k4_s8w8_c1/split": 91.5,
        cublaslt_rowwise: 99.7,
      },
    },
    {
      precision: "nested-fp8",
      n: 28672,
      k: 4096,
      m: 16,
      good: {
        "w8a8_64x32k2_s8w8_c1/split": 41.0,
        "w8a8_64x32k2_s8w8_c1/whole": 41.7,
        "w8a16_64x16k4_s8w8_c1/split": 42.1,
        "w8a16_64x16k4_s8w8_c1/split-last": 42.1,
        "w8a16_64x16k4_s8w8_c1/stream": 42.1,
        "w8a8_64x32k2_s8w8_c1/stream": 42.7,
        "w8a8_64x16k2_s8w8_c1/split": 42.9,
        "w8a8_64x16k2_s8w8_c1/stream": 43.1,
        "w8a8_64x16k2_s8w8_c1/split-last": 43.1,
        "w8a8_64x16k2_s8w8_c1/whole": 43.8,
        "w8a16_64x16k4_s8w8_c1/whole": 43.9,
        "w8a8_64x32k2_s8w8_c1/split-last": 44.4,
      },
    },
    {
      precision: "nested-fp8",
      n: 4096,
      k: 14336,
      m: 64,
      good: {
        "w8a8_64x64k2_s6w6_c2/stream": 23.6,
        "w8a8_64x64k2_s6w6_c2/split": 23.7,
        "w8a8_128x64_s8w8_c1/split": 25.1,
        "w8a16_64x64k2_s8w8_c1/split": 25.4,
        "w8a8_64x64k2_s6w6_c2/whole": 25.9,
        "w8a8_128x64_s8w8_c1/stream": 25.9,
        "w8a8_64x32k2_s8w8_c1/split": 26.8,
        "w8a8_128x128_s6w6_c1/split": 26.9,
      },
    },
    {
      precision: "nested-fp8",
      n: 5120,
      k: 32768,
      m: 512,
      good: {
        "w8a8_128x128_s6w6_t2/split-last": 139.0,
        "w8a8_128x128_s6w6_t2/split": 140.0,
        "w8a8_128x128_s6w6_c2/split-last": 144.7,
        "w8a8_128x256_s4w4_t2/stream": 145.0,
        "w8a8_128x128_s6w6_c2/split": 145.2,
        "w8a8_128x128_s6w6_c1/split-last": 145.8,
        "w8a8_128x176_s5w5_c2/split": 147.5,
        "w8a8_128x176_s5w5_c2/whole": 148.5,
        "w8a8_128x128_s6w6_c1/split": 155.3,
        "w8a8_128x256_s4w4_c2/split": 157.2,
        "w8a8_128x256_s4w4_t2/split": 158.2,
        "w8a8_192x128_s5w5_t2/split": 158.5,
        "w8a8_192x128_s5w5_t2/whole": 159.6,
      },
    },
    {
      precision: "nested-fp8",
      n: 6144,
      k: 4096,
      m: 2048,
      good: {
        cublaslt_rowwise: 83.6,
        "w8a8_192x128_s5w5_t2/split-last": 91.3,
        "w8a8_192x128_s5w5_t2/whole": 93.1,
        "w8a8_128x128_s6w6_c2/split-last": 93.2,
        "w8a8_128x128_s6w6_c2/whole": 93.2,
        "w8a8_128x128_s6w6_c2/split": 93.2,
        "w8a8_128x256_s4w4_c2/split": 93.8,
        "w8a8_128x256_s4w4_t2/split-last": 93.8,
        "w8a8_128x256_s4w4_t2/whole": 93.8,
        "w8a8_192x128_s5w5_t2/split": 93.9,
        "w8a8_128x256_s4w4_c2/whole": 94.0,
        "w8a8_128x256_s4w4_c2/split-last": 94.2,
        "w8a8_128x128_s6w6_c1/split": 94.7,
        "w8a8_128x256_s4w4_t2/split": 94.7,
        "w8a8_128x128_s6w6_c1/whole": 95.0,
        "w8a8_128x128_s6w6_t2/split-last": 95.2,
        "w8a8_128x128_s6w6_t2/whole": 95.3,
        "w8a8_128x128_s6w6_c1/split-last": 95.8,
        "w8a8_128x128_s6w6_t2/split": 95.9,
      },
    },
  ] as const;
  for (const { precision, m, n, k, good } of measured) {
    const [first] = cudaContenders(configs, precision, { n, k, m }, smCount);
    assert.ok(first && first.config in good, `${precision}, n ${n}, k ${k}, m ${m}: ${first?.config}`);
  }
});
