import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("../../kernels/build.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-kernels-"));
after(() => rmSync(folder, { recursive: true }));

const skip = spawnSync(process.env.NVCC ?? "nvcc", ["--version"]).status !== 0 && "nvcc not found";
const out = join(folder, "build");

function build(environment: Record<string, string> = {}, ...names: string[]) {
  return spawnSync(process.execPath, [script, ...names, "--instances", folder, "--out", out], {
    encoding: "utf8",
    env: { ...process.env, ...environment },
  });
}

test("without nvcc it says so and succeeds", () => {
  const { status, stdout } = build({ NVCC: "/nowhere/nvcc" });
  assert.equal(status, 0);
  assert.match(stdout, /skipped: nvcc not found/);
  assert.ok(!existsSync(out));
});

test("a kernel is built, then up to date, then built again when its header changes", { skip }, () => {
  writeFileSync(join(folder, "value.h"), "constexpr float kValue = 1;\n");
  writeFileSync(
    join(folder, "fill.cu"),
    '#include "value.h"\nextern "C" __global__ void fill(float* out) { out[threadIdx.x] = kValue; }\n',
  );
  const first = build();
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, /^fill: \d+ registers, 0 bytes static shared, 0 bytes spilled$/m);
  assert.match(first.stdout, /1 built, 0 up to date, 0 failed/);
  assert.ok(existsSync(join(out, "fill.cubin")));
  assert.match(build().stdout, /0 built, 1 up to date, 0 failed/);
  const later = Date.now() / 1000 + 10;
  utimesSync(join(folder, "value.h"), later, later);
  assert.match(build().stdout, /1 built, 0 up to date, 0 failed/);
});

test("the same source, newer and in another folder, gives the same bytes", { skip }, () => {
  const elsewhere = mkdtempSync(join(tmpdir(), "nestedfp-kernels-elsewhere-"));
  try {
    for (const name of ["value.h", "fill.cu"]) copyFileSync(join(folder, name), join(elsewhere, name));
    const there = join(elsewhere, "build");
    const run = spawnSync(process.execPath, [script, "--instances", elsewhere, "--out", there]);
    assert.equal(run.status, 0);
    assert.ok(readFileSync(join(there, "fill.cubin")).equals(readFileSync(join(out, "fill.cubin"))));
  } finally {
    rmSync(elsewhere, { recursive: true });
  }
});

test("what no source asks for any more is removed", { skip }, () => {
  writeFileSync(join(out, "gone.cubin"), "");
  build();
  assert.ok(!existsSync(join(out, "gone.cubin")));
  assert.ok(existsSync(join(out, "fill.cubin")));
});

test("one that spills fails, and leaves no cubin", { skip }, () => {
  const source = join(folder, "spilling.cu");
  writeFileSync(
    source,
    `extern "C" __global__ void __launch_bounds__(1024, 2) spilling(float* x) {
       float v[64];
       for (int i = 0; i < 64; ++i) v[i] = x[threadIdx.x + 1024 * i];
       for (int k = 0; k < 8; ++k) {
         __syncthreads();
         for (int i = 0; i < 64; ++i) v[i] = v[i] * v[(i + 1) % 64] + v[(i + 7 * k) % 64];
       }
       for (int i = 0; i < 64; ++i) x[threadIdx.x + 1024 * i] = v[i];
     }\n`,
  );
  const { status, stdout, stderr } = build({}, "spilling");
  rmSync(source);
  assert.equal(status, 1);
  assert.match(stdout, /spilling: \d+ registers, .*, [1-9]\d* bytes spilled/);
  assert.match(stderr, /failed: spilling/);
  assert.ok(!existsSync(join(out, "spilling.cubin")));
});

test("one whose wgmma the compiler serialises fails, and leaves no cubin", { skip }, () => {
  const source = join(folder, "serialised.cu");
  writeFileSync(
    source,
    `#include "${fileURLToPath(new URL("../../kernels/ptx/wgmma.cuh", import.meta.url))}"
     using namespace nestedfp::ptx;
     extern "C" __global__ void serialised(float* out, const unsigned* in, unsigned long long b) {
       float d[32] = {};
       unsigned a[4];
       for (int i = 0; i < 4; ++i) a[i] = in[threadIdx.x * 4 + i];
       wgmma_fence();
       for (unsigned k = 0; k < in[9]; ++k) {
         Wgmma<64>::rs_f16(d, a[0], a[1], a[2], a[3], b, 1);
         wgmma_commit();
         a[0] = in[k + threadIdx.x];
         wgmma_wait<1>();
       }
       wgmma_wait<0>();
       for (int i = 0; i < 32; ++i) out[threadIdx.x * 32 + i] = d[i];
     }\n`,
  );
  const { status, stdout, stderr } = build({}, "serialised");
  rmSync(source);
  assert.equal(status, 1);
  assert.match(stdout, /serialised: its wgmma are serialised/);
  assert.match(stderr, /failed: serialised/);
  assert.ok(!existsSync(join(out, "serialised.cubin")));
});

test("one that does not compile fails with nvcc's words", { skip }, () => {
  const source = join(folder, "broken.cu");
  writeFileSync(source, "no kernel");
  const { status, stdout } = build({}, "broken");
  rmSync(source);
  assert.equal(status, 1);
  assert.match(stdout, /broken\.cu\(1\): error/);
});

test("an unknown name is refused", { skip }, () => {
  const { status, stderr } = build({}, "nothing");
  assert.equal(status, 1);
  assert.match(stderr, /has no nothing/);
});
