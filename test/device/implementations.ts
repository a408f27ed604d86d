import { after, type TestContext, test } from "node:test";

import { cpuImplementations, createCpuDevice } from "../../src/device/cpu.ts";
import type { Device } from "../../src/device/device.ts";

/** All that exist; those of another CPU are reported as skipped. */
const known = ["avx512", "avx2", "scalar"];

const supported = cpuImplementations();

/** Registers one test for each implementation of the CPU device. */
export function testEach(title: string, body: (device: Device, t: TestContext) => Promise<void>): void {
  for (const implementation of known) {
    const skip = !supported.includes(implementation) && `this CPU does not run ${implementation}`;
    test(`${implementation}: ${title}`, { skip }, async (t) => {
      const device = createCpuDevice({ threads: 2, implementation });
      try {
        await body(device, t);
      } finally {
        device.close();
      }
    });
  }
}

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
