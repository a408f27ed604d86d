import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import type { BenchDeviceInfo } from "../../src/bench/bench-device.ts";
import { createCudaBenchDevice } from "../../src/bench/cuda-device.ts";
import { MachineError } from "../../src/errors.ts";
import { loadAddon } from "../../src/native/addon.ts";
import { probeCuda } from "../../src/native/cuda-probe.ts";
import { fakeDriver } from "./fake-driver.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const probe = probeCuda();
const hasDriver = loadAddon().cudaProbe().error?.code !== "LIBRARY_NOT_FOUND";
const run = fakeDriver();

const nvcc = process.env.NVCC ?? "nvcc";
const hasNvcc = spawnSync(nvcc, ["--version"]).status === 0;

test("own declarations agree with the headers of CUDA", {
  skip: !hasNvcc && "nvcc not found, which knows where cuda.h is",
}, (t) => {
  const source = "test/native/cuda_declarations.cc";
  const compiled = spawnSync(nvcc, ["-std=c++20", "-I", "native", "-c", "-o", "/dev/null", source], {
    cwd: root,
    encoding: "utf8",
  });
  assert.equal(compiled.status, 0, compiled.stderr);
  for (const [, unchecked] of compiled.stderr.matchAll(/message: ["']?(\S+ is not there[^'"’\n]*)/g)) {
    t.diagnostic(unchecked ?? "");
  }
});

test("without a driver the probe says why and lists nothing", {
  skip: hasDriver && "there is a driver",
}, () => {
  assert.deepEqual(probe.gpus, []);
  assert.match(probe.error ?? "", /^the NVIDIA driver \(libcuda\.so\.1\) cannot be loaded: libcuda\.so\.1: /);
  assert.equal(probe.driver, undefined);
  assert.equal(loadAddon().cudaProbe().error?.hint, "install the NVIDIA driver, or use --device cpu");
});

test("without a driver a device is a MachineError", { skip: hasDriver && "there is a driver" }, async () => {
  await assert.rejects(createCudaBenchDevice(), (error) => {
    assert.ok(error instanceof MachineError);
    assert.equal(error.exitCode, 3);
    assert.match(error.message, /^no usable GPU: .*libcuda\.so\.1/);
    assert.match(error.hint ?? "", /install the NVIDIA driver, or use --device cpu/);
    return true;
  });
});

test("a missing kernel names its file and the command that builds it", () => {
  const { results } = run(
    "await createCudaBenchDevice({ kernels: '/nowhere' }).catch((e) => emit([e.name, e.exitCode, e.message, e.hint]));",
  );
  assert.deepEqual(results, [
    [
      "MachineError",
      3,
      "no usable GPU: the kernel /nowhere/ops.cubin cannot be read",
      "build it with `npm run build:kernels` (it needs nvcc of CUDA 12.8 or later)",
    ],
  ]);
});

test("a device of another architecture is refused by name", () => {
  const { results } = run(
    "await createCudaBenchDevice({ kernels }).catch((e) => emit([e.exitCode, e.message]));",
    {
      FAKE_CUDA_MAJOR: "8",
    },
  );
  assert.deepEqual(results, [
    [3, "no usable GPU: fake has compute capability 8.0, the kernels are built for 9.0 (Hopper)"],
  ]);
});

test("an ordinal beyond the devices is refused with their number", () => {
  const { results } = run(
    "await createCudaBenchDevice({ kernels, ordinal: 3 }).catch((e) => emit([e.exitCode, e.message]));",
  );
  assert.deepEqual(results, [[3, "no usable GPU: cuda:3 does not exist, there is 1 device"]]);
});

test("a failed call is named with its result, description and line", () => {
  const { results } = run(
    "await createCudaBenchDevice({ kernels }).catch((e) => emit([e.exitCode, e.message]));",
    {
      FAKE_CUDA_FAIL: "cuMemAlloc",
    },
  );
  assert.match(
    String(results),
    /^3,no usable GPU: cuMemAlloc\(&pointer, 24\) failed with CUDA_ERROR_OUT_OF_MEMORY \(out of memory\) at cuda\/memory\.cc:\d+$/,
  );
});

test("a failed launch is named with its kernel and shape", () => {
  const { results } = run(
    `const device = await createCudaBenchDevice({ kernels });
     await device.layer(64, 64, ["fp16"], 1, 1).catch((e) => emit([e.exitCode, e.message]));
     device.close();`,
    { FAKE_CUDA_FAIL: "cuLaunchKernelEx" },
  );
  assert.match(
    String(results),
    /^3,cuLaunchKernelEx\(fill_normal, grid 16, block 256, cluster 1, 0 bytes shared\) failed with CUDA_ERROR_INVALID_VALUE \(invalid argument\) at cuda\/module\.cc:\d+$/,
  );
});

test("every configuration is launched within the limits of the device on awkward shapes, and all memory returns", () => {
  const launch = (fp8Sums: string, precisions: readonly string[]) =>
    run(`
      const device = await createCudaBenchDevice({ kernels, fp8Sums: ${JSON.stringify(fp8Sums)} });
      const precisions = ${JSON.stringify(precisions)};
      for (const [n, k, m] of [[16, 16, 1], [208, 80, 33], [208, 80, 96], [4096, 128, 300], [144, 4112, 7]]) {
        const layer = await device.layer(n, k, precisions, m, 1);
        for (const precision of precisions) {
          for (const contender of layer.contenders(precision, m, true)) {
            if (contender.config.startsWith("cublaslt")) continue;
            // Kernels that do nothing give no right result, but every launch is made and taken.
            emit((await layer.check(contender, m)).ok);
            emit(await layer.time(contender, m, 3, true));
          }
        }
        layer.close();
      }
      device.close();
      emit(device.info);`);
  // In a process each: a driver counts what lives in both of its devices.
  const runs = [launch("fast", ["nested-fp16", "nested-fp8", "fp16"]), launch("fp32", ["nested-fp8"])];
  const results = runs.flatMap((one) => one.results);
  const log = runs.flatMap((one) => one.log);
  const isValue = (one: unknown) => typeof one !== "object";
  const values = results.filter(isValue);
  const { libraries, ...info } = results.find((one) => !isValue(one)) as BenchDeviceInfo;
  assert.deepEqual(info, {
    kind: "cuda",
    name: "fake",
    computeCapability: "9.0",
    smCount: 132,
    memoryBytes: 2 ** 30,
    memoryBandwidth: 3.35232e12,
    driver: "CUDA 13.0",
  });
  assert.deepEqual(Object.keys(libraries), ["kernels"]);
  assert.match(libraries.kernels ?? "", /^[0-9a-f]{12}$/);
  assert.ok(values.length > 100, `${values.length} results`);
  assert.deepEqual([...new Set(values)].sort(), [250, false], "0.75 ms for 3 launches, and no check passes");

  const configs = loadAddon().cudaGemmConfigs();
  for (const { name, clusterRows, clusterTokens, sharedBytes } of configs) {
    const launches = log.filter((line) => line.startsWith(`launch ${name} `));
    assert.ok(launches.length > 0, `${name} was launched`);
    for (const launch of launches) {
      assert.match(
        launch,
        new RegExp(` cluster ${clusterRows * clusterTokens} shared ${sharedBytes} overlaps 1$`),
      );
    }
  }
  const released = log.filter((line) => line.startsWith("context released"));
  assert.deepEqual(released, ["context released, 0 buffers live", "context released, 0 buffers live"]);
});

test("launches of one measurement are recorded once and replayed", () => {
  const { log } = run(`
    const device = await createCudaBenchDevice({ kernels });
    const layer = await device.layer(64, 64, ["nested-fp8"], 8, 1);
    const [contender] = layer.contenders("nested-fp8", 8, false);
    for (let sample = 0; sample < 4; sample++) await layer.time(contender, 8, 5, true);
    device.close();`);
  const isOurs = (line: string) => line.startsWith("launch w8a");
  const [first, last] = [log.indexOf("capture"), log.indexOf("captured")];
  assert.equal(log.slice(first, last).filter(isOurs).length, 5);
  assert.equal(log.filter(isOurs).length, 5);
  assert.equal(log.filter((line) => line === "graph launched").length, 1 + 4, "one to warm up");
});

test("a tuned configuration comes first, even one that the model leaves out; one that is not known is ignored", () => {
  // 64 x 64 is one tile of any configuration: cut in equal parts it stays whole, and the model does not list it.
  const { results } = run(`
    const of = async (config) => {
      const device = await createCudaBenchDevice({ kernels, tuned: () => [{ m: 8, config }] });
      const layer = await device.layer(64, 64, ["nested-fp8"], 8, 1);
      const ranked = layer.contenders("nested-fp8", 8, true).map(({ config }) => config);
      device.close();
      return [ranked[0], ranked.filter((name) => name === config).length];
    };
    emit(await of("w8a8_128x256_s4w4_t2/split"));
    emit(await of("w8a8_1x1/split"));
    emit(await of("nested16_64x64k2_s6w5_c1/whole"));`);
  const [known, unknown, ofOtherPrecision] = results as [string, number][];
  assert.deepEqual(known, ["w8a8_128x256_s4w4_t2/split", 1]);
  assert.equal(unknown?.[1], 0);
  assert.equal(ofOtherPrecision?.[1], 0);
});

test("wrong arguments of the session are named", () => {
  const session = new (loadAddon().CudaSession)(0, "/nowhere");
  assert.throws(
    () => session.layer(17, 64, 1, 1, ["fp16"], 1, false),
    /n: expected a multiple of 16, got 17/,
  );
  assert.throws(() => session.check(1, "fp4", "cublaslt", 1), /precision: expected fp16, .*, got "fp4"/);
  assert.throws(
    () => session.check(1, "fp16", "none", 1),
    /config: no kernel "none" computes this precision/,
  );
  session.close();
  assert.throws(() => session.state(), /the pool is closed/);
});
