import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Device } from "../../src/device/device.ts";
import { convertForTest, runModel } from "./run-model.ts";

const tiny = fileURLToPath(new URL("../../fixtures/tiny-llama", import.meta.url));
const ids = Int32Array.from({ length: 64 }, (_, i) => (i * 37) % 2048);
// As --method llama.cpp scores: neither the first half nor the last row counts.
const window = { ids, scoreFrom: 33, scoreTo: 64 };
const layers = 4;
const linearsOfLayer = 7;

/** The real device, but one value of `row` after the last linear layer of the decoder in nested-fp16 is wrong. */
function faulty(device: Device, row: number): Device {
  let calls = 0;
  const linear: Device["linear"] = (x, weights, out, options) => {
    device.linear(x, weights, out, options);
    if (options.precision !== "nested-fp16" || ++calls < layers * linearsOfLayer) return;
    device.upload(Float32Array.of(7), device.columns(device.rows(out, row, 1), 5, 1));
  };
  return new Proxy(device, {
    get: (target, key) => {
      if (key === "linear") return linear;
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

for (const [where, row] of [
  ["the first row", 0],
  ["a row before the scored ones", 17],
  ["a scored row", 40],
  ["the last row, which predicts no id of the window", 63],
] as const) {
  test(`nested-fp16 that differs from fp16 in ${where} is found`, async (t) => {
    const converted = await convertForTest(t, tiny);
    const run = runModel(t, converted, [window], {
      precisions: ["fp16", "nested-fp16"],
      wrap: (device) => faulty(device, row),
    });
    const message = new RegExp(
      `^nested-fp16 differs from fp16 in window 0, position ${row}, at the logit of id `,
    );
    await assert.rejects(run, { exitCode: 1, message });
  });
}

test("without a fault every row agrees", async (t) => {
  const converted = await convertForTest(t, tiny);
  const { precisions } = await runModel(t, converted, [window], { precisions: ["fp16", "nested-fp16"] });
  assert.equal(precisions["nested-fp16"]?.kld_max, 0);
});
