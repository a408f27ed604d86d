import type { OpenedBenchDevice } from "../bench/open-bench-device.ts";
import { MachineError } from "../errors.ts";
import type { CudaProbe } from "../native/cuda-probe.ts";
import { checkAddon } from "./check-addon.ts";
import { checkCuda, hasUsableGpu } from "./check-cuda.ts";
import { checkGemm } from "./check-gemm.ts";
import { checkNode } from "./check-node.ts";
import type { Finding } from "./finding.ts";

export type DoctorResult = {
  /** Nothing failed; warnings may be there. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
};

/** What is looked at, in this order; replaced in tests. */
export type DoctorProbes = {
  readonly nodeVersion: string;
  readonly addon: () => readonly Finding[];
  readonly cuda: () => CudaProbe | undefined;
  readonly openDevice: () => Promise<OpenedBenchDevice>;
  readonly clock: () => number;
};

/** Looks at everything that the commands need; what rests on something broken is left out. */
export async function runDoctor(probes: DoctorProbes): Promise<DoctorResult> {
  const findings: Finding[] = [checkNode(probes.nodeVersion), ...probes.addon()];
  if (findings.every(({ name, status }) => name !== "addon" || status === "ok")) {
    const cuda = probes.cuda();
    findings.push(...checkCuda(cuda), ...(await gemmFindings(probes, hasUsableGpu(cuda))));
  }
  return { ok: findings.every(({ status }) => status !== "fail"), findings };
}

/** The probes of this machine; `openDevice` is what `bench --device auto` opens. */
export function machineProbes(
  openDevice: DoctorProbes["openDevice"],
  cuda: DoctorProbes["cuda"],
): DoctorProbes {
  return {
    nodeVersion: process.version,
    addon: () => checkAddon(),
    cuda,
    openDevice,
    clock: () => performance.now(),
  };
}

async function gemmFindings({ openDevice, clock }: DoctorProbes, hasGpu: boolean): Promise<Finding[]> {
  try {
    const { device, refusal } = await openDevice();
    try {
      // Where there is no GPU, its absence has been said already.
      const refused = hasGpu && refusal !== undefined ? [refusedGpu(refusal)] : [];
      return [...refused, ...(await checkGemm(device, clock))];
    } finally {
      device.close();
    }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    const mend = (error instanceof MachineError ? error.hint : undefined) ?? "nestedfp doctor --device cpu";
    return [{ name: "gemm", status: "fail", detail, mend }];
  }
}

/** The CPU took the place of a GPU that should have worked. */
function refusedGpu({ message, hint = "nestedfp doctor --device cuda" }: MachineError): Finding {
  return { name: "gpu", status: "warn", detail: message, mend: hint };
}
