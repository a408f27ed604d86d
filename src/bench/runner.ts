import type { Precision } from "../device/device.ts";
import type { BenchDevice } from "./bench-device.ts";
import type { PointSettings } from "./point.ts";
import { failedRow, measurePoint } from "./point.ts";
import type { BenchRow } from "./row.ts";
import type { BenchShape } from "./shapes.ts";

/** Every kernel at every shape and M. */
export type BenchPlan = {
  readonly shapes: readonly BenchShape[];
  readonly ms: readonly number[];
  readonly kernels: readonly Precision[];
};

export type BenchSettings = PointSettings & {
  readonly seed: number;
  /** Whether the rows of a point are known from an earlier run. */
  readonly isDone: (shape: BenchShape, m: number) => boolean;
};

export type BenchEvent =
  /** A point is one shape at one M. */
  | { readonly type: "begin"; readonly points: number; readonly done: number }
  | { readonly type: "point"; readonly shape: BenchShape; readonly m: number }
  /** All rows of a point, together. */
  | { readonly type: "rows"; readonly rows: readonly BenchRow[] };

/**
 * Times all kernels at all points, shape by shape, so that the weights of one layer at a time are on the device.
 *
 * @throws what the device throws, unless `continueOnError`
 */
export async function* runBench(
  device: BenchDevice,
  { shapes, ms, kernels }: BenchPlan,
  settings: BenchSettings,
): AsyncGenerator<BenchEvent> {
  const todo = shapes.map((shape) => ({ shape, ms: ms.filter((m) => !settings.isDone(shape, m)) }));
  const points = shapes.length * ms.length;
  yield { type: "begin", points, done: points - todo.reduce((sum, { ms }) => sum + ms.length, 0) };
  for (const { shape, ms } of todo) {
    settings.signal.throwIfAborted();
    if (ms.length === 0) continue;
    try {
      yield* runShape(device, shape, ms, kernels, settings);
    } catch (error) {
      if (!(error instanceof LayerError)) throw error;
      if (!settings.continueOnError || settings.signal.aborted) throw error.cause;
      for (const m of ms) {
        const rows = kernels.map((kernel) =>
          failedRow({ kernel, config: null }, shape, m, "error", error.message),
        );
        yield { type: "rows", rows };
      }
    }
  }
}

/** The weights could not be made, so nothing of this shape can run. */
class LayerError extends Error {}

async function* runShape(
  device: BenchDevice,
  shape: BenchShape,
  ms: readonly number[],
  kernels: readonly Precision[],
  settings: BenchSettings,
): AsyncGenerator<BenchEvent> {
  const layer = await device
    .layer(shape.n, shape.k, kernels, Math.max(...ms), settings.seed)
    .catch((cause: unknown) => {
      throw new LayerError(cause instanceof Error ? cause.message : String(cause), { cause });
    });
  try {
    for (const m of ms) {
      yield { type: "point", shape, m };
      yield { type: "rows", rows: await measurePoint(device, layer, shape, m, kernels, settings) };
    }
  } finally {
    layer.close();
  }
}
