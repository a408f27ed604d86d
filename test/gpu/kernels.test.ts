import assert from "node:assert/strict";

import { loadAddon } from "../../src/native/addon.ts";
import type { NativeCudaSession } from "../../src/native/binding.ts";
import { gpuTest } from "./session.ts";

const precisionOf = {
  plain16: "fp16",
  nested16: "nested-fp16",
  w8a16: "nested-fp8",
  w8a8: "nested-fp8",
  w8a8f32: "nested-fp8",
  a8w8: "nested-fp8",
} as const;

const precisions = ["fp16", "nested-fp16", "nested-fp8"];
const schedules = ["whole", "split", "split-last", "stream"];
const configs = loadAddon().cudaGemmConfigs();

/** n not a multiple of any tile, K of one tile or not a multiple of 64, one token, odd numbers of tokens. */
const shapes = [
  { n: 16, k: 16, tokens: [1, 3] },
  { n: 208, k: 64, tokens: [1, 17, 129] },
  { n: 208, k: 80, tokens: [1, 33, 257] },
  { n: 1040, k: 1040, tokens: [1, 7, 65, 300] },
  { n: 144, k: 12304, tokens: [1, 130] },
  { n: 6160, k: 528, tokens: [5, 600] },
  // Cut tiles of more than a wave: a block adds the sums of others, stores, and goes on.
  { n: 4112, k: 2064, tokens: [1100] },
];

async function onLayers(
  gpu: NativeCudaSession,
  body: (layer: number, tokens: readonly number[], what: string) => Promise<void>,
): Promise<void> {
  for (const { n, k, tokens } of shapes) {
    const layer = await gpu.layer(n, k, Math.max(...tokens), n + k, precisions, 0.02, true);
    try {
      await body(layer, tokens, `n ${n}, k ${k}`);
    } finally {
      await gpu.freeLayer(layer);
    }
  }
}

for (const { name, weights } of configs) {
  gpuTest(`${name}: right on awkward shapes, nested planes bit for bit as plain words`, async (gpu) => {
    await onLayers(gpu, async (layer, tokens, what) => {
      for (const m of tokens) {
        for (const schedule of schedules) {
          const config = `${name}/${schedule}`;
          const check = await gpu.check(layer, precisionOf[weights], config, m);
          assert.ok(check.ok, `${schedule}, m ${m}, ${what}: ${JSON.stringify(check)}`);
        }
      }
    });
  });

  if (["w8a8", "w8a8f32", "a8w8"].includes(weights)) continue; // its activations have no exact 1
  gpuTest(`${name}: X = I gives the weights back bit for bit`, async (gpu) => {
    await onLayers(gpu, async (layer, _, what) => {
      for (const schedule of schedules) {
        const { mismatches, first } = await gpu.identity(layer, precisionOf[weights], `${name}/${schedule}`);
        assert.equal(mismatches, 0, `${schedule}, ${what}: first at ${first}`);
      }
    });
  });
}

gpuTest(
  "X = I gives each of the 32,512 eligible words back, in every configuration of nested FP16",
  async (gpu) => {
    const layer = await gpu.layer(512, 64, 64, 1, precisions, 0, false);
    for (const { name, weights } of configs) {
      if (weights !== "nested16") continue;
      const { mismatches, first } = await gpu.identity(layer, "nested-fp16", `${name}/whole`);
      assert.equal(mismatches, 0, `${name}: first at ${first}`);
    }
    await gpu.freeLayer(layer);
  },
);

gpuTest(
  "every configuration's kernel of nested FP16 has been compared with plain words somewhere",
  async (gpu) => {
    const layer = await gpu.layer(208, 80, 33, 1, precisions, 0.02, true);
    for (const { name, weights } of configs) {
      if (weights !== "nested16") continue;
      const check = await gpu.check(layer, "nested-fp16", `${name}/whole`, 33);
      assert.equal(check.bitwise, true, name);
    }
    await gpu.freeLayer(layer);
  },
);

gpuTest(
  "the library is right: the baselines, and the upper plane as the E4M3 matrix that it is",
  async (gpu, t) => {
    const { cublaslt } = await gpu.open();
    if (cublaslt === undefined) return t.skip("no libcublasLt");
    for (const [n, k, m] of [
      [4096, 4096, 1],
      [1040, 1040, 7],
      [6144, 4096, 130],
    ] as const) {
      const layer = await gpu.layer(n, k, m, 1, ["fp16", "nested-fp8", "fp8"], 0.02, false);
      for (const [precision, config] of [
        ["fp16", "cublaslt"],
        ["fp8", "cublaslt"],
        ["fp8", "cublaslt_rowwise"],
        ["nested-fp8", "cublaslt_rowwise"],
        ["fp8", "cublaslt_f32"],
        ["fp8", "cublaslt_rowwise_f32"],
        ["nested-fp8", "cublaslt_rowwise_f32"],
      ] as const) {
        const check = await gpu.check(layer, precision, config, m);
        assert.ok(check.ok, `${precision} ${config}, n ${n}, k ${k}, m ${m}: ${JSON.stringify(check)}`);
        t.diagnostic(`n ${n}, k ${k}, m ${m}: ${await gpu.description(layer, precision, config, m)}`);
      }
      await gpu.freeLayer(layer);
    }
  },
);

gpuTest("sums in FP32 are nearer to the reference than the tensor cores' are", async (gpu, t) => {
  const layer = await gpu.layer(512, 16384, 130, 1, ["nested-fp8"], 0.02, false);
  const errorOf = async (config: string) =>
    (await gpu.check(layer, "nested-fp8", `${config}/whole`, 130)).relErr;
  const fast = await errorOf("w8a8_128x128_s6w6_c1");
  const fp32 = await errorOf("w8a8f32_128x128_s6w6_c1");
  t.diagnostic(`relative error ${fast} and ${fp32}`);
  assert.ok(fp32 < fast / 3, `${fp32} of ${fast}`);
  await gpu.freeLayer(layer);
});

gpuTest("times are positive, and only what reads E4M3 activations has a quantiser", async (gpu) => {
  const layer = await gpu.layer(4096, 4096, 64, 1, ["nested-fp8"], 0.02, false);
  const w8a16 = configs.find(({ weights }) => weights === "w8a16")?.name;
  const w8a8 = configs.find(({ weights }) => weights === "w8a8")?.name;
  assert.ok((await gpu.time(layer, "nested-fp8", `${w8a16}/whole`, 64, 20, true)) > 0);
  assert.ok((await gpu.time(layer, "nested-fp8", `${w8a8}/whole`, 64, 20, false)) > 0);
  assert.equal(await gpu.timeQuantiser(layer, "nested-fp8", `${w8a16}/whole`, 64, 20), undefined);
  assert.ok(((await gpu.timeQuantiser(layer, "nested-fp8", `${w8a8}/whole`, 64, 20)) ?? 0) > 0);
  await gpu.freeLayer(layer);
});
