import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { compileForCpu } from "./compile-for-cpu.ts";

function linesOf(source: string, optimisation: "-O0" | "-O1" = "-O1"): string[] {
  return execFileSync(compileForCpu(source, optimisation), { encoding: "utf8" }).trimEnd().split("\n");
}

test("in every configuration a stage gets the rows it is for, in their places, when it is empty, none beyond the last", (t) => {
  const lines = linesOf("loads.cc");
  assert.deepEqual(lines.slice(0, -1), []);
  assert.match(lines.at(-1) ?? "", /^\d{5} problems, 0 rules broken$/);
  t.diagnostic(lines.at(-1) ?? "");
});

test("main loops multiply each chunk once, read what is there, and give back what nothing reads", (t) => {
  const lines = linesOf("main_loops.cc", "-O0");
  assert.deepEqual(lines.slice(0, -1), []);
  assert.match(lines.at(-1) ?? "", /^\d{3} warpgroups, 0 rules broken$/);
  t.diagnostic(lines.at(-1) ?? "");
});

test("the epilogue of every configuration scales and stores each output, whoever finishes it", (t) => {
  const lines = linesOf("epilogue.cc");
  assert.deepEqual(lines.slice(0, -1), []);
  assert.match(lines.at(-1) ?? "", /^\d{3} problems, 0 wrong, 0 addresses misaligned$/);
  t.diagnostic(lines.at(-1) ?? "");
});

test("blocks of a cut tile add what the others left in this launch, of every configuration", (t) => {
  const lines = linesOf("block_sum.cc", "-O0");
  assert.deepEqual(lines.slice(0, -1), []);
  assert.match(lines.at(-1) ?? "", /^\d{3} problems, 0 rules broken$/);
  t.diagnostic(lines.at(-1) ?? "");
});

test("each of the 32,512 eligible words comes back from its upper byte and residual", () => {
  assert.deepEqual(linesOf("rebuild.cc"), ["32512 words, 0 wrong"]);
});

test("whole blocks come to their end whatever comes first, and nobody arrives at one that has left", (t) => {
  const lines = linesOf("roles.cc", "-O0");
  assert.deepEqual(lines.slice(0, -1), []);
  assert.match(lines.at(-1) ?? "", /^\d{4} problems, 0 rules broken$/);
  t.diagnostic(lines.at(-1) ?? "");
});

test("division by what is known beforehand is division", () => {
  assert.match(linesOf("divisor.cc").join("\n"), /^\d{7} divisions, 0 wrong$/);
});
