import assert from "node:assert/strict";
import { test } from "node:test";
import { render } from "ink-testing-library";
import { BenchScreen, type BenchScreenProps } from "../../src/ui/bench-screen.tsx";
import { rowOf } from "../bench/rows.ts";

const rows = [
  rowOf("fp16", { m: 4 }, 100, { tflops: 50, vs_fp16: 1, config: "cublaslt" }),
  rowOf("nested-fp8", { m: 4 }, 50, { tflops: 100, vs_fp16: 2, config: "w8a16_64x16", throttled: true }),
  { ...rowOf("fp8", { m: 4 }, 1), median_us: null, tflops: null, status: "incorrect" as const },
];

/** The lines of a screen on a terminal of this size. */
function linesAt(columns: number, props: Partial<BenchScreenProps> = {}): string[] {
  const state = {
    device: "H100",
    done: 3,
    points: 12,
    secondsLeft: 75,
    current: "llama o, M 8",
    rows,
    height: 24,
  };
  const { lastFrame } = render(<BenchScreen {...state} {...props} columns={columns} />);
  return (lastFrame() ?? "").split("\n");
}

test("the screen shows progress, the point in work, and bars in proportion to the fastest of a point", () => {
  assert.deepEqual(linesAt(120), [
    "H100",
    `${"█".repeat(6)}${"░".repeat(18)} 3 of 12 points | ETA 1 min 15 s`,
    "llama o, M 8",
    `64 x 32, M 4 fp16       ${"█".repeat(8)}         50.00 TFLOP/s 100.0 us x 1.000 cublaslt`,
    `             nested-fp8 ${"█".repeat(16)} 100.0 TFLOP/s 50.00 us x 2.000 throttled w8a16_64x16`,
    "             fp8        incorrect",
  ]);
});

test("what a narrow terminal has no room for is left out, the ratio last", () => {
  assert.deepEqual(linesAt(60), [
    "H100",
    `${"█".repeat(6)}${"░".repeat(18)} 3 of 12 points | ETA 1 min 15 s`,
    "llama o, M 8",
    "64 x 32, M 4 fp16        50.00 TFLOP/s 100.0 us x 1.000",
    "             nested-fp8  100.0 TFLOP/s 50.00 us x 2.000 th…",
    "             fp8        incorrect",
  ]);
  const [, bar, , fp16] = linesAt(40);
  assert.equal(bar, "██░░░░░ 3 of 12 points | ETA 1 min 15 s");
  assert.match(fp16 ?? "", /^64 x 32, M 4 fp16 +x 1\.000/);
});

test("no line is wrapped at any width, and no screen higher than the terminal", () => {
  const longest = {
    device: "d".repeat(100),
    done: 123_456,
    points: 999_999,
    secondsLeft: 359_999,
    current: "c".repeat(200),
    rows: Array.from({ length: 16 }, (_, m) => ({
      ...rowOf("nested-fp16", { m }, 123.4, { tflops: 1e3, vs_fp16: 12.345 }),
    })),
  };
  for (let columns = 1; columns <= 120; columns++) {
    const lines = linesAt(columns, longest);
    assert.equal(lines.length, 3 + 16, `${columns} columns`);
    for (const line of lines) assert.ok(line.length <= Math.max(1, columns - 1), `${columns}: ${line}`);
  }
  for (let height = 5; height <= 30; height++)
    assert.equal(linesAt(120, { ...longest, height }).length, Math.min(3 + 16, height - 1));
  assert.match(linesAt(120, { ...longest, height: 5 })[3] ?? "", /, M 15 /);
});

test("at the beginning and at the end nothing is in work", () => {
  const none = { rows: [], secondsLeft: undefined };
  assert.deepEqual(linesAt(80, { ...none, done: 0, points: 0 }).slice(1, 2), [
    `${"░".repeat(24)} 0 of 0 points`,
  ]);
  assert.deepEqual(linesAt(80, { ...none, done: 2, points: 2, current: "x" }), [
    "H100",
    `${"█".repeat(24)} 2 of 2 points`,
  ]);
});
