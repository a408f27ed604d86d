import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";

import { createCpuDevice } from "../../src/device/cpu.ts";
import { seededRandom } from "../safetensors/seeded-random.ts";
import { deviceOfFile } from "./implementations.ts";
import { activationValues, assertSameBits, resultOf, unalignedBytes, uploaded } from "./values.ts";

/** Runs a module in a process of its own. A signal or a hang past the limit fails. */
async function outputOf(script: string, ...flags: string[]): Promise<string> {
  const device = new URL("../../src/device/cpu.ts", import.meta.url);
  const prelude = `import { createCpuDevice } from ${JSON.stringify(device.href)};`;
  const args = ["--import", "tsx", ...flags, "--input-type=module", "-e", prelude + script];
  const child = spawn(process.execPath, args, { timeout: 60_000 });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code, signal] = await once(child, "close");
  const [stdout, stderr] = await output;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
  return stdout.trim();
}

test("operations run in the order of the calls without being awaited", async () => {
  const device = deviceOfFile();
  const x = uploaded(device, new Float32Array(1000).fill(1), 10, 100);
  for (let n = 0; n < 20; n++) device.add(x, x);
  assertSameBits(await device.download(x), new Float32Array(1000).fill(2 ** 20), "doubled 20 times");
  await device.finish();
});

test("arrays may change after the call", async () => {
  const device = deviceOfFile();
  const values = new Float32Array(64).fill(3);
  const ids = Int32Array.of(1, 0);
  const big = device.allocate(2000, 2000);
  device.add(big, big); // keeps the queue busy while the arrays change
  const x = uploaded(device, values, 2, 32);
  const constants = device.constants(values.subarray(0, 32));
  const table = device.weights({ kind: "fp32", words: unalignedBytes(new Uint8Array(256), 1) }, 2, 32);
  const looked = device.allocate(2, 32);
  device.embedding(table, ids, looked);
  values.fill(9);
  ids.fill(7);
  device.rmsNorm(x, constants, 0, x);
  assertSameBits(await device.download(x), new Float32Array(64).fill(3), "3 / 3 * 3");
  assertSameBits(await device.download(looked), new Float32Array(64), "zeros");
});

test("freed memory serves the operations that were called before", async () => {
  const device = deviceOfFile();
  const values = activationValues(256 * 256, seededRandom(1));
  const x = uploaded(device, values, 256, 256);
  const copies = Array.from({ length: 3000 }, () => {
    const sum = device.allocate(256, 16);
    device.add(sum, device.columns(x, 16, 16));
    return sum;
  });
  const last = copies.pop();
  assert.ok(last !== undefined);
  device.free(x, ...copies);
  const expected = values.filter((_, at) => at % 256 >= 16 && at % 256 < 32);
  assertSameBits(await device.download(last), expected, "the last sum");
});

test("a view outlives the freeing of its matrix", async () => {
  const device = deviceOfFile();
  const x = uploaded(device, new Float32Array(100).fill(5), 10, 10);
  const view = device.columns(x, 2, 3);
  device.free(x);
  assertSameBits(await device.download(view), new Float32Array(30).fill(5), "the view");
});

test("what queued operations read is kept when its handles are collected", async () => {
  const output = await outputOf(
    `
    const device = createCpuDevice({ threads: 1 });
    const out = device.allocate(512, 512);
    const queue = () => {
      const large = device.allocate(1000, 1000);
      const words = new Uint8Array(1000 * 1000 * 2);
      const slow = device.weights({ kind: "fp16", words }, 1000, 1000);
      for (let n = 0; n < 20; n++) device.linear(large, slow, device.allocate(1000, 1000), { precision: "fp16" });
      const x = device.allocate(512, 512);
      device.upload(new Float32Array(512 * 512).fill(3), x);
      device.add(out, x);
    };
    queue();
    // Finalizers of handles run some turns after the collection; freed blocks of this size are unmapped.
    for (let n = 0; n < 5; n++) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    console.log((await device.download(out)).every((value) => value === 3));`,
    "--expose-gc",
  );
  assert.equal(output, "true");
});

test("two devices work at once", async () => {
  const devices = [deviceOfFile(1), deviceOfFile(2), deviceOfFile(3)];
  const weights = unalignedBytes(new Uint16Array(64 * 64).fill(0x3c00));
  const outs = await Promise.all(
    Array.from({ length: 60 }, (_, n) => {
      const device = devices[n % 3];
      assert.ok(device !== undefined);
      const x = uploaded(device, new Float32Array(64 * 20).fill(n), 20, 64);
      const ones = device.weights({ kind: "fp16", words: weights }, 64, 64);
      return resultOf(device, 20, 64, (out) => device.linear(x, ones, out, { precision: "fp16" }));
    }),
  );
  outs.forEach((out, n) => {
    assertSameBits(out, new Float32Array(64 * 20).fill(64 * n), `call ${n}`);
  });
});

test("close waits for promises, and every later call throws", async () => {
  const device = createCpuDevice({ threads: 2 });
  const x = device.allocate(100, 100);
  const values = device.download(x);
  device.close();
  device.close();
  assert.equal((await values).length, 10_000);
  assert.throws(() => device.add(x, x), { message: "the pool is closed" });
  await assert.rejects(device.finish(), { message: "the pool is closed" });
});

test("a process ends by itself, with its device open and operations nobody waits for", async () => {
  const output = await outputOf(`
    const device = createCpuDevice({ threads: 2 });
    const x = device.allocate(1000, 1000);
    for (let n = 0; n < 500; n++) device.add(x, x);
    console.log("called");`);
  assert.equal(output, "called");
});

test("process.exit in the middle of operations does not crash", async () => {
  const output = await outputOf(`
    const device = createCpuDevice({ threads: 2 });
    const x = device.allocate(1000, 1000);
    for (let n = 0; n < 500; n++) device.add(x, x);
    device.download(x).then(() => {});
    console.log("called");
    setTimeout(() => process.exit(0), 5);`);
  assert.equal(output, "called");
});

test("devices and handles that are dropped in the middle of operations are collected", async () => {
  const output = await outputOf(
    `
    import { readdirSync } from "node:fs";
    const threads = () => process.platform === "linux" ? readdirSync("/proc/self/task").length : 0;
    const before = threads();
    const drop = () => {
      const device = createCpuDevice({ threads: 4 });
      const x = device.allocate(500, 500);
      const words = new Uint8Array(500 * 500 * 2);
      const weights = device.weights({ kind: "fp16", words }, 500, 500);
      for (let n = 0; n < 5; n++) {
        const out = device.allocate(500, 500);
        device.linear(x, weights, out, { precision: "fp16" });
        if (n === 2) device.anyNonFinite(out);
      }
    };
    for (let n = 0; n < 10; n++) drop();
    const wait = () => {
      gc();
      if (threads() > before) setTimeout(wait, 10);
      else console.log("ended");
    };
    setTimeout(wait, 10);`,
    "--expose-gc",
  );
  assert.equal(output, "ended");
});
