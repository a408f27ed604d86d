import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { kernelCost } from "../../src/bench/kernel-cost.ts";
import { loadAddon } from "../../src/native/addon.ts";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));
const source = fileURLToPath(new URL("tile_order.cc", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-tile-order-"));
after(() => rmSync(folder, { recursive: true }));

const program = join(folder, "tile_order");
execFileSync("g++", ["-O2", "-std=c++20", "-I", kernels, source, "-o", program]);
const lines = execFileSync(program, { encoding: "utf8", maxBuffer: 2 ** 26 })
  .trimEnd()
  .split("\n");

test("every step of every tile is done once, and no block waits for ever", (t) => {
  assert.deepEqual(
    lines.filter((line) => line.startsWith("broken: ")),
    [],
  );
  assert.match(lines.at(-1) ?? "", /^\d{5} problems, 0 rules broken$/);
  t.diagnostic(lines.at(-1) ?? "");
});

test("the cost model cuts tiles where the launch plan does", () => {
  const configs = new Map(
    loadAddon()
      .cudaGemmConfigs()
      .map((config) => [config.name, config]),
  );
  let [whole, cut] = [0, 0];
  for (const line of lines) {
    const [name = "", ...numbers] = line.split(" ");
    const config = configs.get(name);
    if (config === undefined) continue;
    const [m = 0, n = 0, k = 0, isCut] = numbers.map(Number);
    const isContender = Number.isFinite(
      kernelCost(config, "split", { n, k, m }, { smCount: 132, memoryBandwidth: 3.35e12 }),
    );
    assert.equal(isContender, isCut === 1, line);
    if (isContender) cut++;
    else whole++;
  }
  assert.ok(cut > 100 && whole > 100, `${cut} cut, ${whole} whole`);
});
