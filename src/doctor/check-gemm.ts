import type { BenchDevice, BenchLayer } from "../bench/bench-device.ts";
import { medianOf } from "../bench/stats.ts";
import type { Precision } from "../device/device.ts";
import type { Finding } from "./finding.ts";

const kernels: readonly Precision[] = ["fp16", "nested-fp16", "nested-fp8", "fp8"];
const size = { n: 2048, k: 2048, m: 16 } as const;
const secondsPerKernel = 0.25;

/** Which kernels a device has, and for about a second whether they are right and how fast. */
export async function checkGemm(device: BenchDevice, clock: () => number): Promise<Finding[]> {
  const { n, k, m } = size;
  const layer = await device.layer(n, k, kernels, m, 1);
  try {
    const usable = kernels.filter((kernel) => layer.contenders(kernel, m, false).length > 0);
    const missing = kernels.filter((kernel) => !usable.includes(kernel));
    const findings: Finding[] = [kernelsFinding(device.info.name, usable, missing)];
    for (const kernel of usable) findings.push(await checkKernel(layer, kernel, clock));
    return findings;
  } finally {
    layer.close();
  }
}

function kernelsFinding(name: string, usable: readonly Precision[], missing: readonly Precision[]): Finding {
  const detail = `${usable.join(", ") || "none"} on ${name}`;
  if (missing.length === 0) return { name: "kernels", status: "ok", detail };
  return {
    name: "kernels",
    status: "warn",
    detail: `${detail}; not ${missing.join(", ")}`,
    mend: "see what is said of the GPU and of cublaslt above",
  };
}

async function checkKernel(layer: BenchLayer, kernel: Precision, clock: () => number): Promise<Finding> {
  const { n, k, m } = size;
  const [contender] = layer.contenders(kernel, m, false);
  if (contender === undefined) throw new Error(`${kernel} is not there any more`);
  const { ok, relErr } = await layer.check(contender, m);
  const what = `${kernel} by ${contender.config}, ${n} x ${k} times ${m} tokens`;
  if (!ok) {
    return {
      name: "gemm",
      status: "fail",
      detail: `${what}: relative error ${relErr.toExponential(1)}`,
      mend: "this is a bug of nestedfp or a fault of this machine: report it with nestedfp doctor --json",
    };
  }
  const times: number[] = [];
  const end = clock() + 1000 * secondsPerKernel;
  do times.push(await layer.time(contender, m, 1, false));
  while (clock() < end);
  const us = medianOf(times);
  const rate = ((2 * m * n * k) / us / 1e3).toPrecision(3);
  return {
    name: "gemm",
    status: "ok",
    detail: `${what}: ${Number(us.toPrecision(3))} us, ${Number(rate)} GFLOP/s`,
  };
}
