import type { Precision } from "../device/device.ts";
import type { BenchDevice, BenchLayer, Check, Contender, DeviceState } from "./bench-device.ts";
import type { SamplingSettings } from "./measurement.ts";
import { Measurement } from "./measurement.ts";
import type { BenchRow, RowStatus } from "./row.ts";
import type { BenchShape } from "./shapes.ts";
import { medianOf, quartilesOf } from "./stats.ts";

export type PointSettings = SamplingSettings & {
  /** Every applicable contender, not only what dispatch would run. */
  readonly all: boolean;
  readonly continueOnError: boolean;
  readonly signal: AbortSignal;
};

/** Where rows belong. */
type Point = { readonly shape: BenchShape; readonly m: number; readonly bytesPerValue: number };

/** A contender and what became of it; a failed one stays in its place among the rows. */
type Entry = {
  readonly contender: Contender;
  readonly check: Check | undefined;
  readonly measurement: Measurement | undefined;
  failure: string | undefined;
};

/**
 * Checks every contender of the kernels at one point, then times those that are correct in turn, a sample of each,
 * so that all of them meet the same clocks and temperatures.
 */
export async function measurePoint(
  device: BenchDevice,
  layer: BenchLayer,
  shape: BenchShape,
  m: number,
  kernels: readonly Precision[],
  settings: PointSettings,
): Promise<BenchRow[]> {
  const entries: Entry[] = [];
  const unsupported: Precision[] = [];
  for (const kernel of kernels) {
    const contenders = layer.contenders(kernel, m, settings.all);
    if (contenders.length === 0) unsupported.push(kernel);
    for (const contender of contenders) entries.push(await checkContender(layer, contender, m, settings));
  }
  const racing = entries.filter(({ measurement }) => measurement !== undefined);
  await warmUp(racing, settings);
  await sampleInTurn(device, racing, settings);
  const point = { shape, m, bytesPerValue: device.info.kind === "cpu" ? 4 : 2 };
  const rows = entries.map((entry) => rowOf(entry, point));
  const times = rows.flatMap(({ kernel, median_us }) =>
    kernel === "fp16" && median_us !== null ? [median_us] : [],
  );
  const baseline = times.length > 0 ? Math.min(...times) : undefined;
  return [
    ...rows.map((row) =>
      baseline === undefined || row.median_us === null ? row : { ...row, vs_fp16: baseline / row.median_us },
    ),
    ...unsupported.map((kernel) => failedRow({ kernel, config: null }, shape, m, "unsupported")),
  ];
}

/** A row without a time. */
export function failedRow(
  { kernel, config }: { readonly kernel: Precision; readonly config: string | null },
  shape: BenchShape,
  m: number,
  status: RowStatus,
  error?: string,
  check?: Check,
): BenchRow {
  return {
    kernel,
    config,
    shape: shape.names.join(", "),
    m,
    n: shape.n,
    k: shape.k,
    median_us: null,
    q1_us: null,
    q3_us: null,
    samples: 0,
    samples_us: [],
    tflops: null,
    gb_s: null,
    vs_fp16: null,
    check: check === undefined ? null : checkRecord(check),
    status,
    ...(error === undefined ? {} : { error }),
    ...(check?.details === undefined ? {} : { details: check.details }),
    stopped_by: null,
    launches: 0,
    sm_clock_mhz: null,
    memory_clock_mhz: null,
    power_w: null,
    temperature_c: null,
    throttled: false,
    throttle_reasons: {},
    discarded: 0,
  };
}

async function checkContender(
  layer: BenchLayer,
  contender: Contender,
  m: number,
  settings: PointSettings,
): Promise<Entry> {
  const entry: Entry = { contender, check: undefined, measurement: undefined, failure: undefined };
  let check: Check | undefined;
  await guard(entry, settings, async () => {
    check = await layer.check(contender, m);
  });
  const correct = check?.ok === true;
  return {
    ...entry,
    check,
    measurement: correct ? new Measurement(contender, layer, m, settings) : undefined,
  };
}

async function warmUp(entries: readonly Entry[], settings: PointSettings): Promise<void> {
  for (const entry of entries) await guard(entry, settings, async () => entry.measurement?.warmUp());
  const end = settings.clock() + 1000 * settings.warmUpSeconds;
  while (settings.clock() < end && entries.some(({ failure }) => failure === undefined)) {
    for (const entry of entries) await guard(entry, settings, async () => entry.measurement?.rotate());
  }
}

/**
 * Until every contender is quiet or out of time; those that are quiet early go on with the others. Every other round
 * goes backwards, so that no contender always follows the same one: under a limit of power a heavy neighbour costs time.
 */
async function sampleInTurn(
  device: BenchDevice,
  entries: readonly Entry[],
  settings: PointSettings,
): Promise<void> {
  let state: DeviceState = await device.state();
  const active = (): Entry[] =>
    entries.filter(({ failure, measurement }) => failure === undefined && !measurement?.timedOut);
  for (let round = 0; active().some(({ measurement }) => !measurement?.quiet); round++) {
    for (const entry of round % 2 === 0 ? active() : active().reverse()) {
      await guard(entry, settings, async () => {
        state = (await entry.measurement?.sample(state, () => device.state())) ?? state;
      });
    }
  }
}

/** With `continueOnError` a contender that throws is out, and the others go on. */
async function guard(entry: Entry, settings: PointSettings, action: () => Promise<void>): Promise<void> {
  settings.signal.throwIfAborted();
  if (entry.failure !== undefined) return;
  try {
    await action();
  } catch (error) {
    if (!settings.continueOnError) throw error;
    entry.failure = error instanceof Error ? error.message : String(error);
  }
}

function rowOf({ contender, check, measurement, failure }: Entry, point: Point): BenchRow {
  const { shape, m } = point;
  if (failure !== undefined) return failedRow(contender, shape, m, "error", failure, check);
  if (measurement === undefined) return failedRow(contender, shape, m, "incorrect", undefined, check);
  const { samples, discarded } = measurement.kept;
  const times = samples.map(({ us }) => us);
  const { median, q1, q3 } = quartilesOf(times);
  const quantise = measurement.quantiseUs.length > 0 ? medianOf(measurement.quantiseUs) : undefined;
  const reasons: Record<string, number> = {};
  for (const reason of samples.flatMap((sample) => sample.reasons))
    reasons[reason] = (reasons[reason] ?? 0) + 1;
  const states = samples.map(({ state }) => state);
  const bytes = bytesMoved(contender, point, quantise !== undefined);
  return {
    ...failedRow(contender, shape, m, "ok", undefined, check),
    median_us: median,
    q1_us: q1,
    q3_us: q3,
    samples: times.length,
    samples_us: times.map((us) => Math.round(1000 * us) / 1000),
    ...(quantise === undefined ? {} : { quantise_us: quantise, median_with_quantise_us: median + quantise }),
    tflops: (2 * m * shape.n * shape.k) / median / 1e6,
    gb_s: bytes / median / 1e3,
    stopped_by: measurement.quiet ? "noise" : "timeout",
    launches: measurement.launches,
    sm_clock_mhz: medianState(states, (state) => state.smClockMhz),
    memory_clock_mhz: medianState(states, (state) => state.memoryClockMhz),
    power_w: medianState(states, (state) => state.powerW),
    temperature_c: medianState(states, (state) => state.temperatureC),
    throttled: Object.keys(reasons).length > 0,
    throttle_reasons: reasons,
    discarded,
  };
}

function checkRecord({ ok, relErr, bitwise }: Check): NonNullable<BenchRow["check"]> {
  const rel_err = Number.isFinite(relErr) ? relErr : null;
  return bitwise === undefined ? { ok, rel_err } : { ok, rel_err, bitwise };
}

const weightBytes: Readonly<Record<Precision, number>> = {
  fp16: 2,
  "nested-fp16": 2,
  "nested-fp8": 1,
  fp8: 1,
};

/** Of one launch: a contender with a quantiser of its own reads E4M3 activations. */
function bytesMoved({ kernel }: Contender, { shape, m, bytesPerValue }: Point, quantised: boolean): number {
  const { n, k } = shape;
  return n * k * weightBytes[kernel] + m * k * (quantised ? 1 : bytesPerValue) + m * n * bytesPerValue;
}

function medianState(
  states: readonly DeviceState[],
  pick: (state: DeviceState) => number | undefined,
): number | null {
  const known = states.map(pick).filter((value) => value !== undefined);
  return known.length === 0 ? null : medianOf(known);
}
