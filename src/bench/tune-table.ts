import { open, readFile, rename, rm } from "node:fs/promises";
import type { Precision } from "../device/device.ts";
import { FormatError } from "../errors.ts";
import { isObject } from "./is-object.ts";
import type { DeviceRecord } from "./result.ts";
import type { BenchRow } from "./row.ts";

/** The fastest configuration of a kernel at one shape and M. */
export type TuneEntry = {
  readonly kernel: Precision;
  readonly n: number;
  readonly k: number;
  readonly m: number;
  readonly config: string;
  readonly us: number;
};

type TunedDevice = {
  readonly driver: string | null;
  /** By these a device that has no entries finds the one that is most like it. */
  readonly sm_count?: number | null;
  readonly memory_bandwidth?: number | null;
  /** Of the kernels that were timed: kernelsFingerprint. The shipped table has none: it comes with its kernels. */
  readonly kernels?: string;
  readonly entries: readonly TuneEntry[];
};

/** What was measured to be fastest, by the name of the device. */
export type TuneTable = {
  readonly schema: typeof tuneSchema;
  readonly devices: Readonly<Record<string, TunedDevice>>;
};

const tuneSchema = "nestedfp.tune/1";

export const emptyTuneTable: TuneTable = { schema: tuneSchema, devices: {} };

/** The fastest configuration at each point of the rows. */
export function tuneEntries(rows: readonly BenchRow[]): TuneEntry[] {
  const entries = new Map<string, TuneEntry>();
  for (const { kernel, n, k, m, config, median_us: us } of rows) {
    if (config === null || us === null) continue;
    // Without the quantiser, as kernels are compared: engines quantise in the operation before.
    const entry = { kernel, n, k, m, config, us };
    const known = entries.get(keyOf(entry));
    if (known === undefined || entry.us < known.us) entries.set(keyOf(entry), entry);
  }
  return [...entries.values()];
}

type TableDevice = Pick<DeviceRecord, "name" | "driver" | "sm_count" | "memory_bandwidth" | "libraries">;

/** New entries replace those of the same device and point, and all of the device that are of other kernels. */
export function mergeTuneTable(
  table: TuneTable,
  { name, driver, sm_count, memory_bandwidth, libraries: { kernels } }: TableDevice,
  entries: readonly TuneEntry[],
): TuneTable {
  const known = deviceOf(table, name);
  const merged = new Map(
    [...(known?.kernels === kernels ? (known?.entries ?? []) : []), ...entries].map((entry) => [
      keyOf(entry),
      entry,
    ]),
  );
  const sorted = [...merged.values()].sort(
    (a, b) => a.n - b.n || a.k - b.k || a.m - b.m || (a.kernel < b.kernel ? -1 : 1),
  );
  const about = { driver, sm_count, memory_bandwidth, ...(kernels !== undefined && { kernels }) };
  const device = { ...about, entries: sorted };
  return { schema: tuneSchema, devices: { ...table.devices, [name]: device } };
}

/** What dispatch on a device goes by. */
export type Tuning = {
  readonly entries: readonly TuneEntry[];
  /** What the user measured was of other kernels than the device's, and is left out. */
  readonly isOfOtherKernels: boolean;
  /** Nothing was measured on this device itself, and entries are those of this one. */
  readonly standIn?: string;
};

/**
 * What this user measured on the device, over what is shipped for it: of the device itself, or else of one with as many
 * SMs, the one whose memory is most like its own. (On an H200 the H100's entries take 1.014 times as long as the best,
 * what the cost model picks 1.022 times.)
 */
export function tunedEntries(
  shipped: TuneTable,
  own: TuneTable,
  device: Pick<TableDevice, "name" | "sm_count" | "memory_bandwidth" | "libraries">,
): Tuning {
  // A run in which every kernel failed leaves a device without entries.
  const measured = deviceOf(own, device.name)?.entries.length ? deviceOf(own, device.name) : undefined;
  const isOfOtherKernels = measured !== undefined && measured.kernels !== device.libraries.kernels;
  const mine = isOfOtherKernels ? undefined : measured;
  const standIn = deviceOf(shipped, device.name) === undefined ? mostAlike(shipped, device) : undefined;
  const layers = [deviceOf(shipped, standIn ?? device.name), mine];
  const entries = layers.flatMap((layer) => layer?.entries ?? []);
  return {
    entries: [...new Map(entries.map((entry) => [keyOf(entry), entry])).values()],
    isOfOtherKernels,
    ...(standIn !== undefined && mine === undefined && { standIn }),
  };
}

function mostAlike(
  { devices }: TuneTable,
  { sm_count, memory_bandwidth }: Pick<TableDevice, "sm_count" | "memory_bandwidth">,
): string | undefined {
  const difference = (other: TunedDevice) =>
    Math.abs(Math.log((other.memory_bandwidth ?? 1) / (memory_bandwidth ?? 1)));
  const [nearest] = Object.entries(devices)
    .filter(([, other]) => other.sm_count === sm_count)
    .sort(([, one], [, other]) => difference(one) - difference(other));
  return nearest?.[0];
}

function deviceOf({ devices }: TuneTable, name: string): TunedDevice | undefined {
  return Object.hasOwn(devices, name) ? devices[name] : undefined;
}

// By ratio: half the way from 1 to 8, the widest gap between the M of `bench --tune`. Farther off the cost model knows
// better: what is fastest for one token reads all weights again for every eight.
const farthest = 3;

/**
 * What was measured at this shape and `m`, or else at the nearest M below and above that are within a factor of 3: none
 * to two entries.
 */
export function findTuned(
  entries: readonly TuneEntry[],
  { kernel, n, k, m }: Pick<TuneEntry, "kernel" | "n" | "k" | "m">,
): readonly TuneEntry[] {
  const near = entries
    .filter((entry) => entry.kernel === kernel && entry.n === n && entry.k === k)
    .filter((entry) => Math.max(entry.m / m, m / entry.m) <= farthest)
    .sort((one, other) => one.m - other.m);
  const below = near.findLast((entry) => entry.m <= m);
  const above = near.find((entry) => entry.m > m);
  if (below?.m === m) return [below];
  return [below, above].filter((entry) => entry !== undefined);
}

/**
 * An absent file is an empty table.
 * @throws FormatError for a file that is none
 */
export async function loadTuneTable(path: string): Promise<TuneTable> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (text === undefined) return emptyTuneTable;
  const table = parse(text);
  if (table?.schema === tuneSchema && isDevices(table.devices)) return table;
  throw new FormatError(`${JSON.stringify(path)} is no table of tuned kernels`, {
    hint: "remove it; `nestedfp bench --tune` writes a new one",
  });
}

/** Writes the table in place of the old one, whole or not at all. Its folder must be there. */
export async function saveTuneTable(path: string, table: TuneTable): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(`${JSON.stringify(table, null, 1)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function parse(text: string): TuneTable | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isDevices(devices: unknown): boolean {
  if (!isObject(devices)) return false;
  return Object.values(devices).every(
    (device) =>
      isObject(device) &&
      ["string", "undefined"].includes(typeof device.kernels) &&
      Array.isArray(device.entries) &&
      device.entries.every(isEntry),
  );
}

function isEntry(entry: unknown): boolean {
  if (!isObject(entry) || typeof entry.kernel !== "string" || typeof entry.config !== "string") return false;
  return [entry.n, entry.k, entry.m, entry.us].every((value) => typeof value === "number" && value > 0);
}

function keyOf({ kernel, n, k, m }: Pick<TuneEntry, "kernel" | "n" | "k" | "m">): string {
  return `${kernel} ${n}x${k} ${m}`;
}
