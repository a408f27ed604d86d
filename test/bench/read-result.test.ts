import assert from "node:assert/strict";
import { test } from "node:test";
import { readResult } from "../../src/bench/read-result.ts";
import { rowsSchema } from "../../src/bench/rows-file.ts";
import { FormatError } from "../../src/errors.ts";
import { rowOf } from "./rows.ts";

const device = { kind: "cpu", name: "cpu", libraries: {} };
const rows = [rowOf("fp16", {}, 5), { ...rowOf("fp8", {}, 5), median_us: null }];
const result = { device, options: { cold: true }, started: "2026", rows, summary: [] };

test("a document, a result alone and a file of rows, also one cut short, are read alike", () => {
  const header = { schema: rowsSchema, device, options: { cold: true }, started: "2026" };
  const lines = [header, ...rows].map((line) => JSON.stringify(line)).join("\n");
  for (const text of [
    JSON.stringify({ schema: "nestedfp.bench/1", result }, null, 2),
    JSON.stringify(result),
    `${lines}\n`,
    `${lines}\n{"kernel":"fp`,
  ]) {
    const read = readResult(text, "x");
    assert.deepEqual([read.device.name, read.options.cold, read.rows.length], ["cpu", true, 2]);
  }
});

test("what is none is refused by name", () => {
  const broken = (row: object) => JSON.stringify({ ...result, rows: [{ ...rows[0], ...row }] });
  for (const text of [
    "",
    "null",
    "[]",
    "{}",
    JSON.stringify({ schema: "nestedfp.eval/1", result: { precisions: {} } }),
    broken({ q1_us: null }),
    broken({ median_us: "5" }),
    broken({ median_us: 0 }),
    broken({ q1_us: 6, q3_us: 4 }),
    broken({ q3_us: "INFINITE" }).replace('"INFINITE"', "1e999"),
    broken({ status: "incorrect" }),
    broken({ samples: 0 }),
    broken({ m: 1.5 }),
    broken({ kernel: undefined }),
    broken({ config: 5 }),
    broken({ shape: undefined }),
    broken({ m: -1 }),
    JSON.stringify({ ...result, device: { ...device, name: null } }),
    JSON.stringify({ ...result, device: { ...device, libraries: { cublaslt: 13 } } }),
  ]) {
    assert.throws(
      () => readResult(text, "file.json"),
      (error) => error instanceof FormatError && error.message.startsWith('"file.json"'),
      text,
    );
  }
});
