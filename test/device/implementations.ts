import { after } from "node:test";

import { cpuImplementations, createCpuDevice } from "../../src/device/cpu.ts";
import type { Device } from "../../src/device/device.ts";
import { testEachImplementation } from "../native/each-implementation.ts";

const supported = cpuImplementations();

export const testEach = testEachImplementation(["avx512", "avx2", "scalar"], supported, (implementation) =>
  createCpuDevice({ threads: 2, implementation }),
);

/** A device that is closed when the file's tests are over. */
export function deviceOfFile(threads = 2, implementation?: string): Device {
  const device = createCpuDevice({ threads, implementation });
  after(() => device.close());
  return device;
}

/** One device of each implementation and several numbers of threads, closed when the file's tests are over. */
export function allDevices(): Device[] {
  return supported.flatMap((implementation) =>
    [1, 2, 3].map((threads) => deviceOfFile(threads, implementation)),
  );
}
