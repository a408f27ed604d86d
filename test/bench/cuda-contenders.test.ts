import assert from "node:assert/strict";
import { test } from "node:test";

import { cudaContenders } from "../../src/bench/cuda-contenders.ts";
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
