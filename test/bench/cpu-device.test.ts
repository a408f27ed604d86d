import assert from "node:assert/strict";
import { cpus } from "node:os";
import { after, test } from "node:test";
import type { BenchLayer, Check, Contender } from "../../src/bench/bench-device.ts";
import { createCpuBenchDevice } from "../../src/bench/cpu-device.ts";
import { referenceDot } from "../../src/bench/linear-reference.ts";
import { RandomWeights } from "../../src/bench/random-weights.ts";
import { decompose, e4m3ToNumber, halfToNumber, isEligible, roundToE4m3 } from "../../src/codec/reference.ts";
import { createCpuDevice } from "../../src/device/cpu.ts";
import type { Device, Precision } from "../../src/device/device.ts";
import { MachineError } from "../../src/errors.ts";

const device = await createCpuBenchDevice({ threads: 2, coldBytes: 1 << 16 });
after(() => device.close());
const kernels: readonly Precision[] = ["fp16", "nested-fp16", "nested-fp8", "fp8"];

async function withLayer(n: number, k: number, use: (layer: BenchLayer) => Promise<void>): Promise<void> {
  const layer = await device.layer(n, k, kernels, 70, 3);
  try {
    await use(layer);
  } finally {
    layer.close();
  }
}

function only(contenders: readonly Contender[]): Contender {
  assert.equal(contenders.length, 1);
  return contenders[0] as Contender;
}

for (const [n, k] of [
  [1, 1],
  [9, 80],
  [200, 333],
  [64, 2048],
] as const) {
  test(`every kernel passes its check at ${n} x ${k}`, () =>
    withLayer(n, k, async (layer) => {
      for (const kernel of kernels) {
        for (const m of [1, 3, 70]) {
          const check = await layer.check(only(layer.contenders(kernel, m, false)), m);
          assert.ok(check.ok && check.relErr < 1e-5, `${kernel} M ${m}: ${check.relErr}`);
          assert.equal(check.bitwise, kernel === "nested-fp16" ? true : undefined);
        }
      }
    }));
}

/** The kernels of the CPU with a fault: what `broken` does in place of the linear operation. */
async function checkBroken(
  kernel: Precision,
  broken: (real: Device, ...args: Parameters<Device["linear"]>) => void,
): Promise<Check> {
  const real = createCpuDevice({ threads: 1 });
  const faulty = new Proxy(real, {
    get: (target, key: keyof Device) => {
      if (key === "linear")
        return (...args: Parameters<Device["linear"]>) => {
          if (args[3].precision === kernel) broken(target, ...args);
          else target.linear(...args);
        };
      const value = target[key];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const machine = await createCpuBenchDevice({ threads: 1, coldBytes: 1 }, faulty);
  try {
    const layer = await machine.layer(100, 256, kernels, 20, 5);
    return await layer.check(only(layer.contenders(kernel, 20, false)), 20);
  } finally {
    machine.close();
  }
}

test("a kernel that writes nothing, or not all, is found by the poison", async () => {
  const nothing = await checkBroken("fp16", () => undefined);
  assert.deepEqual(nothing, { ok: false, relErr: Number.NaN });
  const partly = await checkBroken("fp8", (real, x, weights, out, options) =>
    real.linear(real.rows(x, 0, 19), weights, real.rows(out, 0, 19), options),
  );
  assert.equal(partly.ok, false);
});

test("a kernel that drops the lower plane is incorrect", async () => {
  const check = await checkBroken("nested-fp16", (real, x, weights, out) =>
    real.linear(x, weights, out, { precision: "nested-fp8", activations: "fp16" }),
  );
  assert.deepEqual([check.ok, check.bitwise], [false, false]);
  assert.ok(check.relErr > 0.005 && check.relErr < 0.1, String(check.relErr));
});

test("a kernel that does not quantise its activations is incorrect", async () => {
  const check = await checkBroken("nested-fp8", (real, x, weights, out) =>
    real.linear(x, weights, out, { precision: "nested-fp8", activations: "fp16" }),
  );
  assert.equal(check.ok, false);
});

test("times are positive, warm and cold, for one launch and for more than there are copies", () =>
  withLayer(64, 128, async (layer) => {
    for (const kernel of kernels) {
      const contender = only(layer.contenders(kernel, 2, true));
      for (const launches of [1, 20]) {
        for (const cold of [false, true]) assert.ok((await layer.time(contender, 2, launches, cold)) > 0);
      }
      assert.equal(await layer.timeQuantiser(contender, 2, 1), undefined);
    }
  }));

test("the device says what it is", async () => {
  assert.equal(device.info.kind, "cpu");
  assert.match(device.info.name, /^cpu \w+, 2 threads of \S/);
  assert.ok(device.info.name.includes(cpus()[0]?.model.trim() ?? ""));
  assert.deepEqual(await device.state(), { throttleReasons: [] });
});

test("a layer that the memory cannot hold is a MachineError, by its weights and by its tokens alike", async () => {
  const most = 2 ** 20;
  for (const [n, k, m, needed] of [
    [most, most, 1, /^a layer of N 1048576, K 1048576 at up to M 1 needs 4096\.0 GiB of memory, and /],
    [most, 16, most, /at up to M 1048576 needs 20\d{3}\.\d GiB of memory/],
  ] as const) {
    await assert.rejects(device.layer(n, k, kernels, m, 1), (error) => {
      assert.ok(error instanceof MachineError);
      assert.match(error.message, needed);
      return true;
    });
  }
});

test("the reference is the product of the codec's values, and a wrong weight, scale or token is far from it", () => {
  const words = [0x3c00, 0xb801, 0x0001, 0x8000, 0x3f7f, 0x2e66, 0xaa12, 0x37ff];
  const x = Float32Array.from([1, -2.5, 3, 4, 0.125, -100, 7, 0.001, 1, 1, 1, 1, 1, 1, 1, 1]);
  const upper = Uint8Array.from(words, (word) => decompose(word).upper);
  const bytes = new Uint8Array(Uint16Array.from(words).buffer);
  const scales = Float32Array.of(0.5);
  const dot = (kernel: Precision, token = 0) =>
    referenceDot({ kernel, words: bytes, upper, scales }, 0, x, token, 8);
  const exact = words.reduce((sum, word, i) => sum + halfToNumber(word) * (x[i] ?? 0), 0);
  assert.equal(dot("fp16"), exact);
  assert.equal(dot("nested-fp16"), exact);
  const scale = Math.fround(100 / 448);
  const quantised = Array.from(x.subarray(0, 8), (value) =>
    e4m3ToNumber(roundToE4m3(Math.fround(value / scale))),
  );
  const eight = upper.reduce((sum, byte, i) => sum + e4m3ToNumber(byte) * (quantised[i] ?? 0), 0);
  assert.equal(dot("nested-fp8"), (eight * scale) / 256);
  assert.equal(dot("fp8"), eight * scale * 0.5);
  assert.notEqual(dot("fp16", 1), exact);
});

test("random weights are eligible words beside their planes, and differ from row to row", async () => {
  const machine = createCpuDevice({ threads: 1 });
  try {
    const weights = new RandomWeights(machine, 1);
    await weights.grow(1_500_000);
    const { words } = weights.words(1_048_000, 2000);
    const { upper, lower } = weights.planes(1_048_000, 2000);
    const values = new Set<number>();
    for (let i = 0; i < 2000; i++) {
      const word = (words[2 * i] ?? 0) | ((words[2 * i + 1] ?? 0) << 8);
      assert.ok(isEligible(word));
      assert.deepEqual({ upper: upper[i], lower: lower[i] }, decompose(word));
      values.add(word);
    }
    assert.ok(values.size > 1000);
    const before = upper.slice();
    await weights.grow(3_000_000);
    assert.deepEqual(weights.planes(1_048_000, 2000).upper, before);
    assert.notDeepEqual(weights.planes(0, 1 << 20).upper, weights.planes(1 << 20, 1 << 20).upper);
  } finally {
    machine.close();
  }
});
