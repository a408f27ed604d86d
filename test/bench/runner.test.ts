import assert from "node:assert/strict";
import { test } from "node:test";
import type { BenchRow } from "../../src/bench/row.ts";
import type { BenchEvent, BenchPlan, BenchSettings } from "../../src/bench/runner.ts";
import { runBench } from "../../src/bench/runner.ts";
import { FakeDevice, settingsOf } from "./fake-device.ts";

const shape = { n: 64, k: 32, names: ["a qkv", "b qkv"] };
const plan: BenchPlan = { shapes: [shape], ms: [2], kernels: ["fp16", "nested-fp16"] };

async function eventsOf(
  device: FakeDevice,
  changes: Partial<BenchPlan> = {},
  settings: Partial<BenchSettings> = {},
): Promise<BenchEvent[]> {
  const events: BenchEvent[] = [];
  for await (const event of runBench(device, { ...plan, ...changes }, settingsOf(device, settings)))
    events.push(event);
  return events;
}

async function rowsOf(...args: Parameters<typeof eventsOf>): Promise<BenchRow[]> {
  const events = await eventsOf(...args);
  return events.flatMap((event) => (event.type === "rows" ? event.rows : []));
}

test("a row has the order statistics of its samples, rates and the ratio to fp16", async () => {
  const device = new FakeDevice({
    scripts: { fp16: [{ us: [500] }], "nested-fp16": [{ us: [500, 500, 500, 999, 1000, 1001, 1000] }] },
  });
  const [fp16, nested] = await rowsOf(device);
  assert.deepEqual([fp16?.median_us, fp16?.samples, fp16?.vs_fp16, fp16?.tflops], [500, 4, 1, 8192 / 500e6]);
  assert.deepEqual([nested?.median_us, nested?.q1_us, nested?.q3_us], [1000, 999.75, 1000.25]);
  assert.deepEqual(nested?.samples_us, [999, 1000, 1001, 1000]);
  assert.equal(nested?.vs_fp16, 0.5);
  // 2 * 64 * 32 of weights, 2 * 2 * 32 of activations, 2 * 2 * 64 of output.
  assert.equal(nested?.gb_s, (4096 + 128 + 256) / 1000 / 1e3);
  assert.deepEqual(nested?.check, { ok: true, rel_err: 0.001 });
  assert.deepEqual([nested?.shape, nested?.status, nested?.stopped_by], ["a qkv, b qkv", "ok", "noise"]);
});

test("all are checked before any is timed, and samples are taken in turn, forth and back", async () => {
  const device = new FakeDevice({ scripts: { fp16: [{ us: [2000] }], "nested-fp16": [{ us: [2000] }] } });
  await eventsOf(device, {}, { minSamples: 2, cold: false });
  const turn = ["time fp16 x1", "time nested-fp16 x1"];
  assert.deepEqual(device.log, [
    "layer 64x32 fp16,nested-fp16 up to 2",
    "check fp16 2",
    "check nested-fp16 2",
    ...["fp16", "nested-fp16"].flatMap((kernel) => [`time ${kernel} x1`, `time ${kernel} x1`]),
    ...turn,
    ...turn.toReversed(),
    "close 64x32",
  ]);
});

test("short launches are gathered into samples of 2 ms, at most 1000", async () => {
  const device = new FakeDevice({
    scripts: { fp16: [{ us: [9, 30] }], "nested-fp16": [{ us: [0.5] }] },
  });
  const rows = await rowsOf(device);
  assert.deepEqual(
    rows.map(({ launches }) => launches),
    [67, 1000],
  );
  assert.ok(device.log.includes("time fp16 x67 cold"));
});

test("a contender whose first launches waited has as many in a sample as one whose did not", async () => {
  const device = new FakeDevice({
    // On a CPU a launch after a pause waits for threads to wake: 1200 us are 1190 of that and 10 of work.
    scripts: { fp16: [{ us: [3000, 1200, 600, 14, 10] }], "nested-fp16": [{ us: [10] }] },
  });
  const rows = await rowsOf(device);
  assert.deepEqual(
    rows.map(({ launches, median_us }) => [launches, median_us]),
    [
      [143, 10],
      [200, 10],
    ],
  );
});

test("a pause while the launches are chosen does not leave too few in every sample", async () => {
  const device = new FakeDevice({
    scripts: { fp16: [{ us: [10, 10, 1510, 10] }], "nested-fp16": [{ us: [10] }] },
  });
  const rows = await rowsOf(device, {}, { warmUpSeconds: 0.01 });
  assert.deepEqual(
    rows.map(({ launches, median_us }) => [launches, median_us]),
    [
      [200, 10],
      [200, 10],
    ],
  );
});

test("warming up takes samples in turn and keeps none", async () => {
  const device = new FakeDevice({ scripts: { fp16: [{ us: [2000, 2000, 70, 70, 2000] }] } });
  const [row] = await rowsOf(device, { kernels: ["fp16"] }, { warmUpSeconds: 0.00014 });
  assert.deepEqual([row?.samples, row?.median_us], [4, 2000]);
  assert.equal(device.log.filter((line) => line.startsWith("time")).length, 2 + 2 + 4);
});

test("a noisy kernel is sampled until its time is over, and the quiet one with it", async () => {
  const noisy = Array.from({ length: 2000 }, (_, i) => (i % 2 === 0 ? 2000 : 3000));
  const device = new FakeDevice({ scripts: { fp16: [{ us: [2000] }], "nested-fp16": [{ us: noisy }] } });
  const [fp16, nested] = await rowsOf(device);
  // 2.5 ms a sample on average, launches that take 2 ms are calibrated at 3 ms.
  assert.deepEqual([nested?.samples, nested?.stopped_by], [400, "timeout"]);
  assert.deepEqual([fp16?.samples, fp16?.stopped_by], [400, "noise"]);
});

test("a wrong kernel has no time, and the others are still measured", async () => {
  const device = new FakeDevice({
    scripts: {
      fp16: [{ us: [1000] }],
      "nested-fp16": [
        { us: [1], check: { ok: false, relErr: Number.NaN, bitwise: false, details: "132 blocks" } },
      ],
    },
  });
  const [fp16, nested] = await rowsOf(device);
  assert.equal(fp16?.status, "ok");
  assert.ok(fp16 && !("details" in fp16));
  assert.equal(nested?.details, "132 blocks");
  assert.equal(nested?.status, "incorrect");
  assert.deepEqual(nested?.check, { ok: false, rel_err: null, bitwise: false });
  assert.deepEqual([nested?.median_us, nested?.vs_fp16, nested?.samples], [null, null, 0]);
  assert.ok(!device.log.some((line) => line.startsWith("time nested")));
});

test("an error ends the run, or with continueOnError its row alone", async () => {
  const scripts = {
    fp16: [{ us: [1000] }],
    "nested-fp16": [{ us: [Number.NaN] }],
    fp8: [{ us: [1], failure: "an illegal address" }],
  };
  const kernels = ["fp16", "nested-fp16", "fp8"] as const;
  await assert.rejects(eventsOf(new FakeDevice({ scripts }), { kernels }), /an illegal address/);
  const rows = await rowsOf(new FakeDevice({ scripts }), { kernels }, { continueOnError: true });
  assert.deepEqual(
    rows.map(({ status, error }) => [status, error]),
    [
      ["ok", undefined],
      ["error", "nested-fp16 was timed at NaN microseconds"],
      ["error", "an illegal address"],
    ],
  );
});

test("a layer that cannot be made ends the run, or with continueOnError its points alone", async () => {
  const options = {
    scripts: { fp16: [{ us: [1000] }] },
    layerFailure: { n: 64, message: "out of memory" },
  };
  const changes: Partial<BenchPlan> = {
    shapes: [shape, { n: 16, k: 16, names: ["small"] }],
    kernels: ["fp16"],
    ms: [1, 2],
  };
  await assert.rejects(eventsOf(new FakeDevice(options), changes), { message: "out of memory" });
  const rows = await rowsOf(new FakeDevice(options), changes, { continueOnError: true });
  assert.deepEqual(
    rows.map(({ n, m, status }) => [n, m, status]),
    [
      [64, 1, "error"],
      [64, 2, "error"],
      [16, 1, "ok"],
      [16, 2, "ok"],
    ],
  );
});

test("a kernel that the device does not have is a row of its own", async () => {
  const device = new FakeDevice({ scripts: { fp16: [{ us: [1000] }] } });
  const rows = await rowsOf(device);
  assert.deepEqual(
    rows.map(({ kernel, config, status }) => [kernel, config, status]),
    [
      ["fp16", "fp16", "ok"],
      ["nested-fp16", null, "unsupported"],
    ],
  );
});

test("the best of several fp16 configurations is the baseline", async () => {
  const device = new FakeDevice({
    scripts: {
      fp16: [
        { config: "a", us: [1000] },
        { config: "b", us: [800] },
      ],
      "nested-fp16": [{ us: [1600] }],
    },
  });
  const rows = await rowsOf(device);
  assert.deepEqual(
    rows.map(({ vs_fp16 }) => vs_fp16),
    [0.8, 1, 0.5],
  );
});

test("the quantiser is timed apart, and its activations count as one byte", async () => {
  const device = new FakeDevice({ scripts: { fp8: [{ us: [100], quantiseUs: 7 }] } });
  const [row] = await rowsOf(device, { kernels: ["fp8"] });
  assert.deepEqual([row?.median_us, row?.quantise_us, row?.median_with_quantise_us], [100, 7, 107]);
  assert.equal(row?.gb_s, (64 * 32 + 2 * 32 + 2 * 2 * 64) / 100 / 1e3);
  assert.equal(row?.vs_fp16, null);
});

test("a power cap is marked; heat throws samples away, unless nothing else is to be had", async () => {
  const state = (...throttleReasons: string[]) => ({ smClockMhz: 1500, powerW: 700, throttleReasons });
  const scripts = { fp16: [{ us: [2000] }] };
  const capped = new FakeDevice({ scripts, states: [state("sw_power_cap")] });
  const [marked] = await rowsOf(capped, { kernels: ["fp16"] });
  assert.deepEqual([marked?.samples, marked?.throttled, marked?.discarded], [4, true, 0]);
  assert.deepEqual(marked?.throttle_reasons, { sw_power_cap: 4 });
  assert.deepEqual([marked?.sm_clock_mhz, marked?.power_w, marked?.temperature_c], [1500, 700, null]);

  // The state before the third sample is also that after the second.
  const heat = [state(), state(), state("hw_thermal_slowdown"), state()];
  const [cool] = await rowsOf(new FakeDevice({ scripts, states: heat }), { kernels: ["fp16"] });
  assert.deepEqual([cool?.samples, cool?.throttled, cool?.discarded], [4, false, 2]);

  const hot = new FakeDevice({ scripts, states: [state("hw_slowdown")] });
  const [kept] = await rowsOf(hot, { kernels: ["fp16"] }, { timeoutSeconds: 0.01 });
  assert.deepEqual(
    [kept?.samples, kept?.throttled, kept?.discarded, kept?.stopped_by],
    [5, true, 0, "timeout"],
  );
});

test("points that are done are not measured again, nor layers made for them", async () => {
  const device = new FakeDevice({ scripts: { fp16: [{ us: [1000] }] } });
  const shapes = [shape, { n: 16, k: 16, names: ["small"] }];
  const events = await eventsOf(
    device,
    { shapes, ms: [1, 2], kernels: ["fp16"] },
    { isDone: ({ n }, m) => n === 64 || m === 1 },
  );
  assert.deepEqual(events[0], { type: "begin", points: 4, done: 3 });
  assert.deepEqual(
    device.log.filter((line) => line.startsWith("layer")),
    ["layer 16x16 fp16 up to 2"],
  );
});

test("an interruption ends the run between two samples and frees the layer, also with continueOnError", async () => {
  const controller = new AbortController();
  const device = new FakeDevice({ scripts: { fp16: [{ us: [1000] }] } });
  const settings = settingsOf(device, { signal: controller.signal, continueOnError: true });
  const events = runBench(device, { ...plan, ms: [1, 2], kernels: ["fp16"] }, settings);
  await assert.rejects(async () => {
    for await (const event of events) if (event.type === "rows") controller.abort(new Error("stop"));
  }, /stop/);
  assert.equal(device.log.at(-1), "close 64x32");
});
