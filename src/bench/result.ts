import type { BenchDeviceInfo } from "./bench-device.ts";
import { isObject } from "./is-object.ts";
import type { BenchRow } from "./row.ts";
import type { Summary } from "./summary.ts";

/** The result of `bench`. */
export type BenchResult = {
  readonly device: DeviceRecord;
  readonly options: BenchOptionsRecord;
  /** ISO 8601. */
  readonly started: string;
  readonly rows: readonly BenchRow[];
  readonly summary: readonly Summary[];
};

/** What of the options decides a time. Rows under others are not comparable. */
export type BenchOptionsRecord = {
  readonly cold: boolean;
  readonly min_samples: number;
  readonly max_noise: number;
  readonly timeout_s: number;
  readonly tune: boolean;
  /** On a GPU, where E4M3 products were not left to the tensor cores to add up. */
  readonly fp8_sums?: "fp32";
};

export type DeviceRecord = {
  readonly kind: "cpu" | "cuda";
  readonly name: string;
  readonly compute_capability: string | null;
  readonly sm_count: number | null;
  readonly memory_bytes: number | null;
  /** What the memory's clock and width give, in bytes per second; null where the driver does not tell. */
  readonly memory_bandwidth: number | null;
  readonly driver: string | null;
  readonly libraries: Readonly<Record<string, string>>;
};

export function deviceRecord(info: BenchDeviceInfo): DeviceRecord {
  return {
    kind: info.kind,
    name: info.name,
    compute_capability: info.computeCapability ?? null,
    sm_count: info.smCount ?? null,
    memory_bytes: info.memoryBytes ?? null,
    memory_bandwidth: info.memoryBandwidth ?? null,
    driver: info.driver ?? null,
    libraries: info.libraries,
  };
}

/** Whether a device read from a file has a name, and versions that are text. */
export function isDeviceRecord(device: unknown): device is DeviceRecord {
  if (!isObject(device) || typeof device.name !== "string" || !isObject(device.libraries)) return false;
  return [device.driver ?? "", ...Object.values(device.libraries)].every(
    (version) => typeof version === "string",
  );
}

/** Whether options read from a file say what decides which results may be compared. */
export function isOptionsRecord(options: unknown): options is BenchOptionsRecord {
  return isObject(options) && typeof options.cold === "boolean";
}
