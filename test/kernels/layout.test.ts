import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { devicePosition } from "./device-layout.ts";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-layout-"));
after(() => rmSync(folder, { recursive: true }));

test("the kernels' order of K is the inverse of the one that the tests use", () => {
  const source = join(folder, "layout.cc");
  writeFileSync(
    source,
    `#define __host__
     #define __device__
     #include "ops/layout.cuh"
     #include <cstdio>
     int main() { for (int p = 0; p < 384; ++p) std::printf("%d ", int(nestedfp::kernels::element_at(p))); }`,
  );
  const program = join(folder, "layout");
  execFileSync("g++", ["-std=c++20", "-I", kernels, source, "-o", program]);
  const elements = execFileSync(program, { encoding: "utf8" }).trim().split(" ").map(Number);
  assert.equal(elements.length, 384);
  assert.deepEqual(
    elements.map((k) => devicePosition(k)),
    elements.map((_, position) => position),
  );
});

test("a lane's sixteen bytes are its operands of four k16 steps, and its next those of the next four", () => {
  // Lane c of a quad holds columns 2c, 2c+1, 2c+8 and 2c+9 of each 16 (PTX, wgmma fragments of 16-bit types).
  for (let c = 0; c < 4; c++) {
    const operands = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((j) =>
      [0, 1, 8, 9].map((column) => 16 * j + 2 * c + column),
    );
    assert.deepEqual(
      operands.map(devicePosition),
      operands.map((_, at) => 32 * c + at),
    );
  }
});
