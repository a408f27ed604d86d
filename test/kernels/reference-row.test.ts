import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-reference-row-"));
after(() => rmSync(folder, { recursive: true }));

const source = join(folder, "rows.cc");
writeFileSync(
  source,
  `#include "interface/ops.h"
   #include <cstdio>
   #include <cstdlib>
   int main(int, char** argv) {
     const int64_t rows = std::atoll(argv[1]), m = std::atoll(argv[2]);
     for (int64_t i = 0; i < rows; ++i) {
       std::printf("%lld ", static_cast<long long>(nestedfp::kernels::reference_row(i, rows, m)));
     }
   }`,
);
const program = join(folder, "rows");
execFileSync("g++", ["-std=c++20", "-I", kernels, source, "-o", program]);
const rowsOf = (rows: number, m: number): number[] =>
  execFileSync(program, [String(rows), String(m)], { encoding: "utf8" })
    .trim()
    .split(" ")
    .map(Number);

test("a reference of all rows has each in turn", () => {
  assert.deepEqual(
    rowsOf(33, 33),
    Array.from({ length: 33 }, (_, row) => row),
  );
});

test("a reference of some rows has different ones, of every column of the tensor cores' tiles", () => {
  for (const m of [513, 600, 1024, 2048, 4096, 8192, 65536]) {
    const rows = rowsOf(512, m);
    assert.equal(new Set(rows).size, 512);
    assert.ok(rows.every((row, i) => row >= Math.floor((i * m) / 512) && row < m));
    assert.equal(new Set(rows.map((row) => row % 16)).size, 16, `m ${m}`);
  }
});
