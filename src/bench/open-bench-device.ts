import { MachineError, UsageError } from "../errors.ts";
import type { BenchDevice, BenchDeviceInfo } from "./bench-device.ts";
import { createCpuBenchDevice } from "./cpu-device.ts";
import type { Fp8Sums } from "./cuda-contenders.ts";
import { findTuned, type TuneEntry } from "./tune-table.ts";

export type DeviceChoice =
  | { readonly kind: "auto" }
  | { readonly kind: "cpu" }
  | { readonly kind: "cuda"; readonly index: number };

/**
 * `auto`, `cpu`, `cuda` or `cuda:I`.
 * @throws UsageError
 */
export function parseDeviceChoice(text: string): DeviceChoice {
  if (text === "auto" || text === "cpu") return { kind: text };
  const [match, index = "0"] = /^cuda(?::(\d{1,3}))?$/.exec(text) ?? [];
  if (match === undefined) {
    throw new UsageError(`--device is ${JSON.stringify(text)}, not auto, cpu, cuda or cuda:I`, {
      hint: "leave --device out to take a GPU where there is one",
    });
  }
  return { kind: "cuda", index: Number(index) };
}

export type Dispatch = {
  /** What was measured to be fastest on the device that was opened. */
  readonly tuned: (info: BenchDeviceInfo) => Promise<readonly TuneEntry[]>;
  readonly fp8Sums: Fp8Sums;
};

export type OpenedBenchDevice = {
  readonly device: BenchDevice;
  /** Which device `auto` took, and why. */
  readonly notice?: string;
  /** Why `auto` took no GPU. */
  readonly refusal?: MachineError;
};

/**
 * Opens the device to be timed. `auto` takes the first GPU when there is a usable one, else the CPU.
 *
 * @param threads of the CPU device
 * @param gpu what dispatch on a GPU goes by
 * @throws MachineError for `cuda` without a usable GPU
 */
export async function openBenchDevice(
  choice: DeviceChoice,
  threads: number,
  gpu: Dispatch,
): Promise<OpenedBenchDevice> {
  if (choice.kind === "cuda") return { device: await openCuda(choice.index, gpu) };
  if (choice.kind === "cpu") return { device: await createCpuBenchDevice({ threads }) };
  try {
    const device = await openCuda(0, gpu);
    return { device, notice: `using ${device.info.name}` };
  } catch (error) {
    if (!(error instanceof MachineError)) throw error;
    const device = await createCpuBenchDevice({ threads });
    return { device, notice: `${error.message}; using ${device.info.name}`, refusal: error };
  }
}

/** Opened only where it is asked for: the addon looks for the driver then. */
async function openCuda(index: number, { tuned, fp8Sums }: Dispatch): Promise<BenchDevice> {
  const { createCudaBenchDevice } = await import("./cuda-device.ts");
  let entries: readonly TuneEntry[] = [];
  const device = await createCudaBenchDevice({
    ordinal: index,
    tuned: (point) => findTuned(entries, point),
    fp8Sums,
  });
  try {
    entries = await tuned(device.info);
    return device;
  } catch (error) {
    device.close();
    throw error;
  }
}
