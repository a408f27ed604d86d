import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import type { BenchResult } from "../../src/bench/result.ts";
import { parseRowsFile } from "../../src/bench/rows-file.ts";
import { scratchDirectory } from "../convert/scratch.ts";
import { compileFakeDriver } from "../native/fake-driver.ts";
import { documentOf, nestedfp, root } from "./run.ts";

// The driver has no device: launches are taken and give nothing, so that no result is right and none is timed.
const driver = compileFakeDriver();
const skip = !existsSync(join(root, "kernels/build/ops.cubin")) && "skipped: the kernels are not built";

const point = ["--device", "cuda", "--shapes", "1024,1024", "-m", "512", "--kernels", "nested-fp8"];

async function bench(t: TestContext, args: readonly string[], cache?: string) {
  const run = await nestedfp(["bench", ...point, ...args], {
    env: environment(cache ?? (await scratchDirectory(t))),
  });
  assert.equal(run.code, 1, run.stderr);
  return run;
}

function environment(cache: string) {
  return { LD_LIBRARY_PATH: driver, FAKE_CUDA_LOG: "/dev/null", XDG_CACHE_HOME: cache };
}

/** The fake device with so many bits of memory bus: 5120 give the H100's bandwidth. */
async function benchWithMemory(t: TestContext, bits: number) {
  const env = { ...environment(await scratchDirectory(t)), FAKE_CUDA_MEMORY_BITS: String(bits) };
  const run = await nestedfp(["bench", ...point, "--json"], { env });
  assert.equal(run.code, 1, run.stderr);
  return { stderr: run.stderr, device: documentOf<BenchResult>(run).result.device };
}

test("--fp8-sums decides which kernel runs, and is in the result and in a file of rows", {
  skip,
}, async (t) => {
  const file = join(await scratchDirectory(t), "rows.jsonl");
  const fp32 = await bench(t, ["--fp8-sums", "fp32", "--json", "-o", file]);
  const { result } = documentOf<BenchResult>(fp32);
  assert.equal(result.options.fp8_sums, "fp32");
  assert.equal(parseRowsFile(readFileSync(file, "utf8"), file).header.options.fp8_sums, "fp32");
  const [row] = result.rows;
  assert.match(row?.config ?? "", /^(w8a8f32_|cublaslt_rowwise_f32$)/);
  assert.equal(row?.status, "incorrect");

  const fast = documentOf<BenchResult>(await bench(t, ["--json"])).result;
  assert.ok(!("fp8_sums" in fast.options));
  assert.match(fast.rows[0]?.config ?? "", /^(w8a8_|a8w8_|cublaslt_rowwise$)/);
  const resumed = await nestedfp(["bench", ...point, "--resume", "-o", file], {
    env: environment(await scratchDirectory(t)),
  });
  assert.equal(resumed.code, 2, resumed.stderr);
  assert.match(resumed.stderr, /was measured with fp8_sums fp32, and this run has undefined/);
});

test("a row of an own kernel says what was launched", { skip }, async (t) => {
  const { rows } = documentOf<BenchResult>(await bench(t, ["--json"])).result;
  const own = rows.find(({ config }) => config?.includes("/"));
  assert.match(own?.details ?? "", /\d+ blocks/);
});

test("a device that no kernels were tuned on takes those of one like it, and that is said", {
  skip,
}, async (t) => {
  const notice =
    /^Notice: no kernels were tuned on fake, those of NVIDIA H100 80GB HBM3 are taken; --tune measures fake$/m;
  assert.match((await bench(t, ["--json"])).stderr, notice);
  const h200 = await benchWithMemory(t, 7350);
  assert.match(h200.stderr, /those of NVIDIA H200 are taken/);
  assert.equal(h200.device.memory_bandwidth, (2 * 2.619e9 * 7350) / 8);
});

test("a driver that does not tell the memory's width leaves it out of the result", { skip }, async (t) => {
  const { stderr, device } = await benchWithMemory(t, 0);
  assert.equal(device.memory_bandwidth, null);
  assert.match(stderr, /those of NVIDIA H100 80GB HBM3 are taken/);
});

test("whose entries are taken is not said where none are", { skip }, async (t) => {
  for (const args of [["-q"], ["--tune", "--kernels", "nested-fp16"]]) {
    assert.doesNotMatch((await bench(t, ["--json", ...args])).stderr, /Notice/, args.join(" "));
  }
  const baseline = await nestedfp(["bench", ...point, "--kernels", "fp16"], {
    env: environment(await scratchDirectory(t)),
  });
  assert.match(baseline.stderr, /libcublasLt cannot be loaded/);
  assert.doesNotMatch(baseline.stderr, /Notice/);
});

test("a table of the user's that is of other kernels is not used, and that is said", { skip }, async (t) => {
  const cache = await scratchDirectory(t);
  mkdirSync(join(cache, "nestedfp"));
  const config = "w8a8_64x16k2_s8w8_c1/whole";
  const entry = { kernel: "nested-fp8", n: 1024, k: 1024, m: 512, config, us: 1 };
  const table = (kernels: string) =>
    JSON.stringify({
      schema: "nestedfp.tune/1",
      devices: { fake: { driver: "CUDA 13.0", kernels, entries: [entry] } },
    });
  const path = join(cache, "nestedfp/tune.json");
  writeFileSync(path, table("000000000000"));
  const other = await bench(t, ["--json"], cache);
  assert.match(
    other.stderr,
    /^Notice: what .*tune\.json has of fake is of other kernels; those of NVIDIA H100 80GB HBM3 are taken; --tune replaces all of it$/m,
  );
  const { device, rows } = documentOf<BenchResult>(other).result;
  assert.notEqual(rows[0]?.config, config);

  writeFileSync(path, table(device.libraries.kernels ?? ""));
  const own = await bench(t, ["--json"], cache);
  assert.doesNotMatch(own.stderr, /Notice/);
  assert.equal(documentOf<BenchResult>(own).result.rows[0]?.config, config);
});
