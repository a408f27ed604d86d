import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));
const source = fileURLToPath(new URL("loads.cc", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-loads-"));
after(() => rmSync(folder, { recursive: true }));

test("in every configuration a stage gets the bytes it expects, and no copy reaches beyond the matrix", (t) => {
  for (const name of ["gemm", "interface"]) cpSync(join(kernels, name), join(folder, name), { recursive: true });
  mkdirSync(join(folder, "ptx"));
  // Instructions of a GPU: loads.cc has functions of the same names.
  for (const name of ["grid", "mbarrier", "tma"]) writeFileSync(join(folder, "ptx", `${name}.cuh`), "#pragma once\n");
  const program = join(folder, "loads");
  execFileSync("g++", ["-O1", "-std=c++20", "-I", folder, source, "-o", program]);
  const lines = execFileSync(program, { encoding: "utf8" }).trimEnd().split("\n");
  assert.deepEqual(lines.slice(0, -1), []);
  assert.match(lines.at(-1) ?? "", /^\d{5} problems, 0 rules broken$/);
  t.diagnostic(lines.at(-1) ?? "");
});
