import assert from "node:assert/strict";
import { test } from "node:test";
import { checkAddon, checkCpu } from "../../src/doctor/check-addon.ts";
import { checkCuda } from "../../src/doctor/check-cuda.ts";
import { checkNode } from "../../src/doctor/check-node.ts";
import type { DoctorProbes } from "../../src/doctor/doctor.ts";
import { runDoctor } from "../../src/doctor/doctor.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { MachineError } from "../../src/errors.ts";
import { FakeDevice } from "../bench/fake-device.ts";

const scripts = {
  fp16: [{ us: [100_000] }],
  "nested-fp16": [{ us: [100_000] }],
  "nested-fp8": [{ us: [100_000] }],
  fp8: [{ us: [100_000] }],
};

function probesOf(changes: Partial<DoctorProbes> = {}, device = new FakeDevice({ scripts })): DoctorProbes {
  return {
    nodeVersion: "v22.1.0",
    addon: () => [{ name: "addon", status: "ok", detail: "x.node" }],
    cuda: () => undefined,
    openDevice: async () => ({ device }),
    clock: device.clock,
    ...changes,
  };
}

const names = (findings: readonly Finding[]) => findings.map(({ name, status }) => `${name} ${status}`);

test("a machine without a GPU is well, with a warning", async () => {
  const device = new FakeDevice({ scripts });
  const { ok, findings } = await runDoctor(probesOf({}, device));
  assert.equal(ok, true);
  const gemms = Array.from({ length: 4 }, () => "gemm ok");
  assert.deepEqual(names(findings), ["node ok", "addon ok", "cuda warn", "kernels ok", ...gemms]);
  assert.match(findings[2]?.detail ?? "", /CUDA support is not in this build/);
  // 2 * 16 * 2048 * 2048 operations in 0.1 s.
  assert.match(findings[4]?.detail ?? "", /fp16 by fp16, 2048 x 2048 times 16 tokens: 100000 us, 1.34 GFLOP/);
  // A quarter of a second each, and the device is given back.
  assert.equal(device.clock(), 4 * 300);
  assert.equal(device.log.at(-1), "close");
});

test("an old node fails, and says which is needed", async () => {
  assert.equal(checkNode("v20.15.0").status, "ok");
  assert.equal(checkNode("v21.0.0").status, "ok");
  for (const version of ["v20.14.9", "v18.20.0"]) {
    const { status, detail, mend } = checkNode(version);
    assert.equal(status, "fail");
    assert.equal(detail, `${version}, and nestedfp needs 20.15 or newer`);
    assert.match(mend ?? "", /install Node 20\.15/);
  }
  assert.equal((await runDoctor(probesOf({ nodeVersion: "v18.0.0" }))).ok, false);
});

test("without the addon nothing that rests on it is tried", async () => {
  const [finding, ...more] = checkAddon(["/nowhere/nestedfp.node"]);
  assert.ok(finding);
  assert.deepEqual([finding.name, finding.status, more.length], ["addon", "fail", 0]);
  assert.match(finding.detail, /cannot be loaded .*\/nowhere\/nestedfp\.node: not found/);
  assert.match(finding.mend ?? "", /npm run build/);
  const never = () => assert.fail("asked");
  const probes = probesOf({ addon: () => [finding], cuda: never, openDevice: never });
  const { ok, findings } = await runDoctor(probes);
  assert.deepEqual([ok, names(findings)], [false, ["node ok", "addon fail"]]);
});

test("the addon of this build is found, with the implementations of this processor", () => {
  assert.deepEqual(
    checkAddon().map(({ name, status }) => [name, status === "fail"]),
    [
      ["addon", false],
      ["cpu", false],
    ],
  );
});

test("a processor without vector instructions is a warning", () => {
  const addon = (best: string[]) => ({
    implementations: () => [...best, "scalar"],
    cpuImplementations: () => [...best, "scalar"],
  });
  assert.equal(checkCpu(addon(["avx2"]), 8).status, "ok");
  const finding = checkCpu(addon([]), 8);
  assert.equal(finding.status, "warn");
  assert.match(finding.detail, /codec scalar; linear layers scalar; 8 threads/);
});

const h100 = { name: "NVIDIA H100", computeCapability: "9.0", memoryBytes: 80 * 1024 ** 3 };
const whole = {
  driver: "580 (CUDA 13.0)",
  gpus: [h100],
  cublaslt: "13.1.0",
  nvml: "580",
  kernels: { folder: "/package/kernels/build", missing: [] },
};

test("a GPU with all libraries is ok, each with its version", () => {
  assert.deepEqual(checkCuda(whole), [
    { name: "driver", status: "ok", detail: "580 (CUDA 13.0)" },
    {
      name: "gpu",
      status: "ok",
      detail: "cuda:0 NVIDIA H100, compute capability 9.0, 80.0 GiB",
    },
    { name: "cubins", status: "ok", detail: "/package/kernels/build" },
    { name: "cublaslt", status: "ok", detail: "13.1.0" },
    { name: "nvml", status: "ok", detail: "580" },
  ]);
});

test("whatever CUDA lacks is a warning with what mends it, and never a failure", () => {
  const { cublaslt: _, ...noBlas } = whole;
  const { nvml: __, ...noNvml } = whole;
  const cases = [
    [{ gpus: [] }, "driver", /libcuda\.so\.1/],
    [{ gpus: [], error: "libcuda.so.1: wrong ELF class" }, "driver", /wrong ELF class/],
    [{ ...whole, gpus: [] }, "gpu", /no GPU/],
    [{ ...whole, gpus: [{ ...h100, computeCapability: "8.0" }] }, "gpu", /8\.0.*built for 9\.0/],
    [noBlas, "cublaslt", /libcublasLt/],
    [noNvml, "nvml", /libnvidia-ml/],
    [{ ...whole, kernels: { folder: "/k", missing: ["ops"] } }, "cubins", /kernels are missing in \/k: ops$/],
    [{ ...whole, kernels: { folder: "/k", missing: ["ops", "a", "b"] } }, "cubins", /\/k: ops and 2 more$/],
  ] as const;
  for (const [probe, name, detail] of cases) {
    const findings = checkCuda(probe);
    assert.ok(findings.every(({ status }) => status !== "fail"));
    const warnings = findings.filter(({ status }) => status === "warn");
    assert.deepEqual(
      warnings.map((finding) => finding.name),
      [name],
    );
    assert.match(warnings[0]?.detail ?? "", detail);
    assert.ok(warnings[0]?.mend);
  }
});

test("a wrong product fails, a kernel that is not there is a warning", async () => {
  const wrong = [{ us: [100_000], check: { ok: false, relErr: 0.25 } }];
  const device = new FakeDevice({ scripts: { fp16: scripts.fp16, "nested-fp16": wrong } });
  const { ok, findings } = await runDoctor(probesOf({}, device));
  assert.equal(ok, false);
  assert.deepEqual(names(findings).slice(3), ["kernels warn", "gemm ok", "gemm fail"]);
  assert.match(findings[3]?.detail ?? "", /fp16, nested-fp16 on Fake GPU; not nested-fp8, fp8/);
  assert.match(findings[5]?.detail ?? "", /nested-fp16 by nested-fp16.*relative error 2\.5e-1/);
});

test("a device that cannot be opened fails with its hint", async () => {
  const openDevice = async () => {
    throw new MachineError("no usable GPU", { hint: "give --device cpu" });
  };
  const { ok, findings } = await runDoctor(probesOf({ openDevice }));
  assert.equal(ok, false);
  assert.deepEqual(findings.at(-1), {
    name: "gemm",
    status: "fail",
    detail: "no usable GPU",
    mend: "give --device cpu",
  });
});

test("a GPU that looks well and cannot be used is not passed over for the CPU in silence", async () => {
  const refusal = new MachineError("no usable GPU: out of memory", { hint: "end what holds it" });
  const device = new FakeDevice({ scripts });
  const openDevice = async () => ({ device, notice: "using cpu", refusal });
  const { ok, findings } = await runDoctor(probesOf({ openDevice, cuda: () => whole }, device));
  assert.equal(ok, true);
  assert.deepEqual(
    findings.filter(({ status }) => status === "warn"),
    [{ name: "gpu", status: "warn", detail: "no usable GPU: out of memory", mend: "end what holds it" }],
  );
  // Where there is none, that has been said.
  const none = await runDoctor(probesOf({ openDevice, cuda: () => ({ gpus: [] }) }, device));
  assert.deepEqual(
    none.findings.filter(({ status }) => status === "warn").map(({ name }) => name),
    ["driver"],
  );
});
