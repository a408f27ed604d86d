import { failedRow } from "../../src/bench/point.ts";
import type { BenchRow } from "../../src/bench/row.ts";
import type { Precision } from "../../src/device/device.ts";

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
