import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";

import { addonPaths, loadAddon } from "../../src/native/addon.ts";

const prelude = `
  const { Pool } = require(${JSON.stringify(addonPaths()[0])});
  const { Worker, isMainThread } = require("node:worker_threads");
  const busy = (pool, jobs) => {
    const bytes = new Uint8Array(1 << 22);
    const hash = pool.sha256();
    for (let n = 0; n < jobs; n++) {
      pool.crc32(bytes, 0).then(() => {}, () => {});
      hash?.update(bytes);
    }
  };`;

/** Runs a script in a process of its own. A signal or a hang past the limit fails. */
async function outputOf(script: string, ...flags: string[]): Promise<string> {
  const child = spawn(process.execPath, [...flags, "-e", prelude + script], { timeout: 60_000 });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code, signal] = await once(child, "close");
  const [stdout, stderr] = await output;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
  return stdout.trim();
}

test("a process with an open but idle pool ends by itself", async () => {
  const output = await outputOf(`
    const pool = new Pool(2, "scalar");
    pool.crc32(Buffer.from("123456789"), 0).then(console.log);`);
  assert.equal(output, String(0xcbf43926));
});

test("a process stays until its pending promises are settled, also after close", async () => {
  const output = await outputOf(`
    const pool = new Pool(1, "scalar");
    let settled = 0;
    for (let n = 0; n < 20; n++) pool.crc32(new Uint8Array(1 << 20), 0).then(() => settled++);
    pool.close();
    process.on("exit", () => console.log(settled));`);
  assert.equal(output, "20");
});

test("process.exit in the middle of jobs does not crash", async () => {
  for (const delay of [0, 1, 5, 20]) {
    await outputOf(`busy(new Pool(2, "scalar"), 50); setTimeout(() => process.exit(0), ${delay});`);
  }
});

test("dropping a pool with jobs under way is safe, and its threads end", async () => {
  const output = await outputOf(
    `const threads = () => require("node:fs").readdirSync("/proc/self/task").length;
     const linux = process.platform === "linux";
     const before = linux ? threads() : 0;
     for (let n = 0; n < 20; n++) busy(new Pool(4, "scalar"), 2);
     const wait = () => {
       gc();
       if (linux && threads() > before) setTimeout(wait, 10);
       else console.log("ended");
     };
     setTimeout(wait, 10);`,
    "--expose-gc",
  );
  assert.equal(output, "ended");
});

test("a worker thread may be terminated while its jobs run", async () => {
  const output = await outputOf(`
    const source = ${JSON.stringify(prelude)} + 'busy(new Pool(2, "scalar"), 50); require("node:worker_threads").parentPort.postMessage(0);';
    (async () => {
      for (let n = 0; n < 10; n++) {
        const worker = new Worker(source, { eval: true });
        await new Promise((resolve) => worker.once("message", resolve));
        await worker.terminate();
      }
      console.log("survived");
    })();`);
  assert.equal(output, "survived");
});

test("pools can be made and closed again and again", async () => {
  const addon = loadAddon();
  for (let n = 0; n < 100; n++) {
    const pool = new addon.Pool(3, "scalar");
    const sum = n % 2 === 0 ? pool.crc32(Buffer.from("123456789"), 0) : Promise.resolve(0xcbf43926);
    pool.close();
    pool.close();
    assert.equal(await sum, 0xcbf43926);
    assert.throws(() => pool.crc32(Buffer.alloc(1), 0), { message: "the pool is closed" });
  }
});

test("two pools work at once and do not disturb each other", async () => {
  const addon = loadAddon();
  const pools = addon.implementations().map((name) => new addon.Pool(2, name));
  const bytes = Buffer.alloc(1 << 16, "nestedfp");
  const sums = await Promise.all(
    Array.from({ length: 200 }, (_, n) => pools[n % pools.length]?.crc32(bytes, 0) ?? Promise.reject(n)),
  );
  assert.equal(new Set(sums).size, 1);
  for (const pool of pools) pool.close();
});
