import { failedRow } from "../../src/bench/point.ts";
import type { BenchResult } from "../../src/bench/result.ts";
import type { BenchRow } from "../../src/bench/row.ts";
import type { Precision } from "../../src/device/device.ts";

/** What results of a device that does not exist have in common. */
export const fakeRun: Pick<BenchResult, "device" | "options" | "started"> = {
  device: {
    kind: "cuda",
    name: "Fake <GPU>",
    compute_capability: "9.0",
    sm_count: 132,
    memory_bytes: 1,
    memory_bandwidth: null,
    driver: "580",
    libraries: { cublaslt: "13.1" },
  },
  options: { cold: true, min_samples: 20, max_noise: 0.01, timeout_s: 5, tune: false },
  started: "2026-11-22T10:00:00.000Z",
};

/** A row of a correct kernel with this median, and what else a test gives. */
export function rowOf(
  kernel: Precision,
  { n = 64, k = 32, m = 1 }: { n?: number; k?: number; m?: number },
  median_us: number,
  more: Partial<BenchRow> = {},
): BenchRow {
  return {
    ...failedRow({ kernel, config: kernel }, { n, k, names: [`${n}x${k}`] }, m, "ok", undefined, {
      ok: true,
      relErr: 0.001,
    }),
    median_us,
    q1_us: median_us,
    q3_us: median_us,
    samples: 20,
    stopped_by: "noise",
    ...more,
  };
}
