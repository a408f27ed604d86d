import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { test } from "node:test";
import type { RunEvent } from "../../src/convert/events.ts";
import type { ProgressMode } from "../../src/ui/progress.ts";
import { createProgress } from "../../src/ui/progress.ts";

/** What a progress prints on stderr for these events. */
async function printed(
  t: TestContext,
  mode: ProgressMode,
  quiet: boolean,
  events: readonly RunEvent[],
): Promise<string[]> {
  const lines: string[] = [];
  const write = t.mock.method(process.stderr, "write", (text: string) => lines.push(text) > 0);
  try {
    const progress = await createProgress(mode, quiet);
    for (const event of events) progress.listener(event);
    progress.close();
  } finally {
    write.mock.restore();
  }
  return lines;
}

const bytes = (count: number, file = "a"): RunEvent => ({ type: "bytes", phase: "scan", file, bytes: count });
const total = (count: number): RunEvent => ({ type: "total", bytes: count });

test("plain: a line when a quarter is reached, with amount, rate, step and file", async (t) => {
  const lines = await printed(t, "plain", false, [
    total(4000),
    { type: "begin", phase: "scan", file: "a", bytes: 4000 },
    bytes(999),
    bytes(1),
    bytes(500),
    bytes(1600),
    bytes(900),
    { type: "end", phase: "scan", file: "a" },
  ]);
  const amounts = lines.map(
    (line) => /^(\d+% \| .* of 3\.91 KiB) \| [\d.]+ \w+\/s \| scanning a\n$/.exec(line)?.[1],
  );
  assert.deepEqual(amounts, [
    "25% | 1000 B of 3.91 KiB",
    "75% | 3.03 KiB of 3.91 KiB",
    "100% | 3.91 KiB of 3.91 KiB",
  ]);
});

test("plain: a file name cannot move the cursor", async (t) => {
  const lines = await printed(t, "plain", false, [total(1), bytes(1, "\u001b[2J\u202e")]);
  assert.match(lines.join(""), /scanning \\u001b\[2J\\u202e\n$/);
});

test("plain: no size, no lines; more than was announced is still 100 %", async (t) => {
  assert.deepEqual(await printed(t, "plain", false, [total(0), bytes(5), bytes(5)]), []);
  const lines = await printed(t, "plain", false, [total(10), bytes(15), bytes(5)]);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /^100% \| 15 B of 10 B/);
});

test("none, quiet, and a run that is over at once print no lines", async (t) => {
  const events = [total(4), bytes(1), bytes(3)];
  assert.deepEqual(await printed(t, "none", false, events), []);
  assert.deepEqual(await printed(t, "auto", true, events), []);
  const terminal = process.stderr.isTTY && !process.env.CI;
  if (!terminal) assert.deepEqual(await printed(t, "auto", false, events), []);
});

test("a warning is printed without progress, and not under --quiet", async (t) => {
  const warning: RunEvent = { type: "warning", message: "mind the gap" };
  assert.deepEqual(await printed(t, "none", false, [warning]), ["Warning: mind the gap\n"]);
  assert.deepEqual(await printed(t, "none", true, [warning]), []);
});
