import assert from "node:assert/strict";
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { WindowRecord } from "../../src/eval/eval.ts";
import { ResumeFile } from "../../src/eval/resume-file.ts";
import { scratchDirectory } from "../convert/scratch.ts";

const record = (window: number): WindowRecord => ({
  window,
  summaries: { fp16: { nll: { n: 31, sum: 100.25 + window, m2: 1e-17 } } },
  nll: { fp16: [0.1, 1 / 3] },
});
const records = [record(0), record(2), record(1)];

/** Writes the records, lets `edit` change the lines, and opens the file again. */
async function reopened(path: string, edit: (lines: string[]) => string[], identity = "this") {
  const { file } = await ResumeFile.open(path, "this", false);
  for (const each of records) await file.add(each);
  await file.close(false);
  writeFileSync(path, edit(readFileSync(path, "utf8").split("\n")).join("\n"));
  const { file: again, ...earlier } = await ResumeFile.open(path, identity, true);
  await again.close(false);
  return earlier;
}

const changed = (from: string, to: string) => (lines: string[]) => {
  const edited = lines.map((line, at) => (at === 2 ? line.replace(from, to) : line));
  assert.notDeepEqual(edited, lines);
  return edited;
};
const others = [records[0], records[2]];

const whole = { done: records, isForeign: false, refused: 0, repeated: 0 };
const foreign = { ...whole, done: [], isForeign: true };
const aLineLess = { ...whole, done: others, refused: 1 };

for (const [name, edit, expected] of [
  ["as it was written", (lines: string[]) => lines, whole],
  [
    "a last line cut short",
    (lines: string[]) => [...lines.slice(0, 3), '{"sha2'],
    { ...whole, done: records.slice(0, 2) },
  ],
  ["a count that was edited", changed('"n":31', '"n":30'), aLineLess],
  ["a sum that was edited", changed('"sum":102.25', '"sum":101.25'), aLineLess],
  ["no number", changed('"sum":102.25', '"sum":NaN'), aLineLess],
  ["null in place of a number", changed('"sum":102.25', '"sum":null'), aLineLess],
  ["a precision of another name", changed('"fp16":{', '"fp8":{'), aLineLess],
  ["a window of another number", changed('"window":2', '"window":7'), aLineLess],
  [
    "a window twice",
    (lines: string[]) => [...lines.slice(0, 4), lines[2] ?? "", lines[2] ?? "", ""],
    { ...whole, repeated: 2 },
  ],
  ["empty lines", (lines: string[]) => [lines[0] ?? "", "", "  ", ...lines.slice(1), ""], whole],
  ["a line that is null", changed("{", "null{"), aLineLess],
  [
    "lines of something else",
    (lines: string[]) => [...lines.slice(0, 2), "null", "3", "[]", '"x"', "{}", "garbage", ""],
    { ...whole, done: [record(0)], refused: 6 },
  ],
  ["an edited first line", (lines: string[]) => ["{}", ...lines.slice(1)], foreign],
  ["an empty first line", (lines: string[]) => ["", ...lines], foreign],
] as const) {
  test(`a file to resume from, ${name}`, async (t) => {
    const path = join(await scratchDirectory(t), "x.jsonl");
    assert.deepEqual(await reopened(path, edit), expected);
    // What was refused is not written down again.
    const { file, ...again } = await ResumeFile.open(path, "this", true);
    await file.close(true);
    assert.deepEqual(again, { ...whole, done: expected.done });
  });
}

test("windows of another evaluation under the same identity line are no windows of this one", async (t) => {
  const path = join(await scratchDirectory(t), "x.jsonl");
  const asOther = (lines: string[]) => ['{"identity":"other"}', ...lines.slice(1)];
  assert.deepEqual(await reopened(path, asOther, "other"), { ...whole, done: [], refused: 3 });
});

test("an earlier file that cannot be read is an error, and stays", async (t) => {
  const folder = await scratchDirectory(t);
  const path = join(folder, "run.jsonl");
  symlinkSync("run.jsonl", path); // leads to itself: it cannot be read, but could be replaced
  await assert.rejects(ResumeFile.open(path, "this", true), { code: "ELOOP" });
  assert.ok(lstatSync(path).isSymbolicLink());
  assert.deepEqual(readdirSync(folder), ["run.jsonl"]);
});

test("a file that cannot take its name leaves nothing behind", async (t) => {
  const folder = await scratchDirectory(t);
  const path = join(folder, "run.jsonl");
  mkdirSync(path);
  await assert.rejects(ResumeFile.open(path, "this", false), { code: "EISDIR" });
  assert.deepEqual(readdirSync(folder), ["run.jsonl"]);
});
