import assert from "node:assert/strict";
import { appendFileSync, lstatSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { RowsHeader } from "../../src/bench/rows-file.ts";
import { donePoints, parseRowsFile, RowsFile, rowsSchema } from "../../src/bench/rows-file.ts";
import type { BenchPlan } from "../../src/bench/runner.ts";
import { FormatError, UsageError } from "../../src/errors.ts";
import { scratchDirectory } from "../convert/scratch.ts";
import { fakeRun, rowOf } from "./rows.ts";

const header: RowsHeader = { schema: rowsSchema, ...fakeRun };

const shapes = [{ n: 64, k: 32, names: [] }];
const both: BenchPlan = { shapes, ms: [1, 2, 4], kernels: ["fp16", "fp8"] };
const fp16: BenchPlan = { ...both, kernels: ["fp16"] };

test("rows are on disk when they are added, and a resumed run has them", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  const first = await RowsFile.open(path, header, false, both);
  await first.file.add([rowOf("fp16", {}, 5), rowOf("fp8", {}, 3)]);
  assert.equal(readFileSync(path, "utf8").split("\n").length, 4);
  await first.file.close();

  const later = { ...header, started: "2026-11-23T00:00:00.000Z" };
  const second = await RowsFile.open(path, later, true, both);
  assert.deepEqual(second.rows, [rowOf("fp16", {}, 5), rowOf("fp8", {}, 3)]);
  assert.equal(second.started, header.started);
  await second.file.add([rowOf("fp16", { m: 2 }, 7)]);
  await second.file.close();
  const { header: written, rows } = parseRowsFile(readFileSync(path, "utf8"), path);
  assert.deepEqual(written, header);
  assert.deepEqual(
    rows.map(({ m }) => m),
    [1, 1, 2],
  );
});

test("a file that another run writes is refused, resumed or not, until that run has closed it", async (t) => {
  const folder = await scratchDirectory(t);
  const path = join(folder, "rows.jsonl");
  const first = await RowsFile.open(path, header, false, fp16);
  const link = join(folder, "link.jsonl");
  symlinkSync(path, link);
  for (const [other, resume] of [
    [path, false],
    [path, true],
    [link, true],
  ] as const) {
    await assert.rejects(RowsFile.open(other, header, resume, fp16), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^".*\.jsonl" is being written by another run of nestedfp$/);
      return true;
    });
  }
  await first.file.add([rowOf("fp16", {}, 5)]);
  await first.file.close();

  const second = await RowsFile.open(link, header, true, fp16);
  assert.equal(second.rows.length, 1);
  await second.file.add([rowOf("fp8", {}, 3)]);
  await second.file.close();
  assert.ok(lstatSync(link).isSymbolicLink(), "the link stays one");
  assert.equal(parseRowsFile(readFileSync(path, "utf8"), path).rows.length, 2);
  assert.deepEqual(readdirSync(folder).sort(), ["link.jsonl", "rows.jsonl"]);
});

test("a system that takes a part of each write gets the rest too", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  const { file } = await RowsFile.open(path, header, false, fp16);
  const probe = await open(path);
  const prototype = Object.getPrototypeOf(probe);
  await probe.close();
  const whole = prototype.write;
  t.mock.method(prototype, "write", function (this: object, data: Buffer | string, at = 0) {
    const bytes = Buffer.from(data);
    return whole.call(this, bytes, at, Math.min(100, bytes.length - at));
  });
  await file.add([rowOf("fp16", {}, 5)]);
  await file.close();
  assert.deepEqual(parseRowsFile(readFileSync(path, "utf8"), path).rows, [rowOf("fp16", {}, 5)]);
});

test("a line cut short by a kill is dropped, and the next row begins a line of its own", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  const first = await RowsFile.open(path, header, true, fp16);
  await first.file.add([rowOf("fp16", {}, 5)]);
  await first.file.close();
  appendFileSync(path, '{"kernel":"fp8","config":"é');
  const second = await RowsFile.open(path, header, true, fp16);
  assert.equal(second.rows.length, 1);
  await second.file.add([rowOf("fp8", {}, 3)]);
  await second.file.close();
  assert.equal(parseRowsFile(readFileSync(path, "utf8"), path).rows.length, 2);
});

test("a file killed within its header begins anew under --resume", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  writeFileSync(path, '{"schema":"nested');
  const { file, rows } = await RowsFile.open(path, header, true, fp16);
  await file.close();
  assert.deepEqual(rows, []);
  assert.deepEqual(parseRowsFile(readFileSync(path, "utf8"), path), { header, rows: [] });
});

test("a row whose fields are of another type, or that has a time without being right, is refused by its line", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  const good = rowOf("fp16", {}, 5);
  const text = (row: object) =>
    `${JSON.stringify(header)}\n${JSON.stringify(good)}\n${JSON.stringify(row)}\n`;
  assert.equal(parseRowsFile(text({ ...good, quantise_us: 1 }), path).rows.length, 2);
  for (const field of [
    { quantise_us: "q" },
    { median_with_quantise_us: null },
    { throttled: "y" },
    { discarded: {} },
    { samples_us: ["a", null] },
    { throttle_reasons: { power: "x" } },
    { details: 5 },
    { status: "incorrect" },
  ]) {
    const damaged = () => parseRowsFile(text({ ...good, ...field }), path);
    assert.throws(damaged, /line 3: no row of `nestedfp bench`/, JSON.stringify(field));
  }
  const headless = `${JSON.stringify({ ...header, options: {} })}\n`;
  assert.throws(() => parseRowsFile(headless, path), /its first line is not their header/);
});

test("a file of something else is not overwritten under --resume", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  for (const text of ["abc", "my notes, without a last line break", '{"kernel":"fp8"']) {
    writeFileSync(path, text);
    await assert.rejects(RowsFile.open(path, header, true, fp16), FormatError);
    assert.equal(readFileSync(path, "utf8"), text);
  }
});

test("what will be measured again is gone from the file, and no temporary file stays", async (t) => {
  const folder = await scratchDirectory(t);
  const path = join(folder, "rows.jsonl");
  const first = await RowsFile.open(path, header, true, fp16);
  await first.file.add([
    rowOf("fp16", {}, 5),
    rowOf("fp16", { m: 2 }, 5, { status: "error", median_us: null }),
  ]);
  await first.file.close();
  const second = await RowsFile.open(path, header, true, fp16);
  await second.file.add([rowOf("fp16", { m: 2 }, 7)]);
  await second.file.close();
  assert.deepEqual(
    parseRowsFile(readFileSync(path, "utf8"), path).rows.map(({ m, median_us }) => [m, median_us]),
    [
      [1, 5],
      [2, 7],
    ],
  );
  assert.deepEqual(readdirSync(folder), ["rows.jsonl"]);
});

test("kept are whole points, and what the plan does not ask for; an error is measured again with its peers", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  const first = await RowsFile.open(path, header, false, both);
  await first.file.add([
    rowOf("fp16", { m: 1 }, 1),
    rowOf("fp8", { m: 1 }, 1),
    rowOf("fp16", { m: 2 }, 1),
    rowOf("fp8", { m: 2 }, 1, { status: "error", median_us: null }),
    rowOf("fp16", { m: 4 }, 1),
    rowOf("fp16", { m: 8 }, 1),
    rowOf("fp16", { n: 16, m: 1 }, 1),
  ]);
  await first.file.close();
  const { file, rows } = await RowsFile.open(path, header, true, both);
  await file.close();
  assert.deepEqual(
    rows.map(({ n, m, kernel }) => `${n} ${m} ${kernel}`),
    ["64 1 fp16", "64 1 fp8", "64 8 fp16", "16 1 fp16"],
  );
});

test("other kernels than those that the points have are refused, and no row is lost", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  const first = await RowsFile.open(path, header, false, both);
  await first.file.add([rowOf("fp16", {}, 5), rowOf("fp8", {}, 3)]);
  await first.file.close();
  const before = readFileSync(path, "utf8");
  for (const kernels of [["fp16"], ["fp16", "fp8", "nested-fp16"], ["fp16", "nested-fp16"]] as const) {
    await assert.rejects(RowsFile.open(path, header, true, { ...both, kernels }), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(
        error.message,
        new RegExp(`was measured with --kernels fp16,fp8, and this run has ${kernels}$`),
      );
      return true;
    });
  }
  assert.equal(readFileSync(path, "utf8"), before);
  const again = await RowsFile.open(path, header, true, { ...both, kernels: ["fp8", "fp16"] });
  assert.equal(again.rows.length, 2);
  await again.file.close();
});

test("a file of the user's that is called like the lock stays", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  writeFileSync(`${path}.lock`, "mine");
  await assert.rejects(RowsFile.open(path, header, false, both), /\.jsonl\.lock" is no lock of nestedfp/);
  assert.equal(readFileSync(`${path}.lock`, "utf8"), "mine");
});

test("a link that leads to nothing yet stays one", async (t) => {
  const folder = await scratchDirectory(t);
  const link = join(folder, "link.jsonl");
  symlinkSync("there.jsonl", link);
  const { file } = await RowsFile.open(link, header, false, both);
  await file.close();
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.deepEqual(readdirSync(folder).sort(), ["link.jsonl", "there.jsonl"]);
});

test("another device, driver or option, and a file that is there unasked, are refused", async (t) => {
  const path = join(await scratchDirectory(t), "rows.jsonl");
  await (await RowsFile.open(path, header, false, fp16)).file.close();
  const before = readFileSync(path, "utf8");
  const refused = (other: RowsHeader, resume: boolean, message: RegExp) =>
    assert.rejects(RowsFile.open(path, other, resume, fp16), (error) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.match(error.message, message);
      return true;
    });
  await refused(header, false, /exists$/);
  const { device, options } = header;
  await refused(
    { ...header, device: { ...device, name: "Other" } },
    true,
    /on "Fake <GPU>", and this is "Other"/,
  );
  await refused(
    { ...header, device: { ...device, driver: "581" } },
    true,
    /driver 580, and this run has 581/,
  );
  await refused({ ...header, device: { ...device, libraries: {} } }, true, /cublaslt 13.1, .* undefined/);
  await refused(
    { ...header, options: { ...options, cold: false } },
    true,
    /cold true, and this run has false/,
  );
  await refused(
    { ...header, options: { ...options, fp8_sums: "fp32" } },
    true,
    /fp8_sums undefined, and this run has fp32/,
  );
  assert.equal(readFileSync(path, "utf8"), before);
});

test("what is no file of rows is refused", () => {
  for (const text of ["", "[]\n", "{}\n", '{"schema":"nestedfp.bench/1"}\n']) {
    assert.throws(() => parseRowsFile(text, "x"), FormatError, text);
  }
  const { device } = header;
  for (const other of [
    null,
    { ...device, name: 5 },
    { ...device, libraries: null },
    { ...device, driver: 5 },
  ]) {
    const text = `${JSON.stringify({ ...header, device: other })}\n`;
    assert.throws(() => parseRowsFile(text, "x"), /"x" is no file of rows/, text);
  }
  const row = rowOf("fp16", {}, 5);
  const broken: unknown[] = [
    null,
    [],
    { ...row, config: 5 },
    { ...row, shape: undefined },
    { ...row, status: "fine" },
  ];
  broken.push({ ...row, tflops: "1" }, { ...row, throttle_reasons: null }, { ...row, m: 0 });
  for (const one of broken) {
    const text = [header, row, one].map((line) => `${JSON.stringify(line)}\n`).join("");
    assert.throws(() => parseRowsFile(text, "x"), /"x", line 3: no row of `nestedfp bench`/, text);
  }
});

test("a point is done when every kernel asked for has a row", () => {
  const isDone = donePoints(
    [rowOf("fp16", {}, 1), rowOf("fp8", {}, 1), rowOf("fp16", { m: 2 }, 1)],
    ["fp16", "fp8"],
  );
  const shape = { n: 64, k: 32, names: [] };
  assert.deepEqual(
    [isDone(shape, 1), isDone(shape, 2), isDone({ ...shape, k: 64 }, 1)],
    [true, false, false],
  );
});
