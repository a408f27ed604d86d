import assert from "node:assert/strict";
import { test } from "node:test";
import { render } from "ink-testing-library";
import { BenchScreen } from "../../src/ui/bench-screen.tsx";
import { rowOf } from "../bench/rows.ts";

const rows = [
  rowOf("fp16", { m: 4 }, 100, { tflops: 50, vs_fp16: 1, config: "cublaslt" }),
  rowOf("nested-fp8", { m: 4 }, 50, { tflops: 100, vs_fp16: 2, config: "w8a16_64x16", throttled: true }),
  { ...rowOf("fp8", { m: 4 }, 1), median_us: null, tflops: null, status: "incorrect" as const },
];

const linesAt = (columns: number): string[] => {
  const state = { device: "H100", done: 3, points: 12, secondsLeft: 75, current: "llama o, M 8" };
  const { lastFrame } = render(<BenchScreen {...state} rows={rows} columns={columns} />);
  return (lastFrame() ?? "").split("\n");
};

test("the screen shows progress, the point in work, and bars in proportion to the fastest of a point", () => {
  const lines = linesAt(101);
  assert.equal(lines[0], "H100");
  assert.match(lines[1] ?? "", /^3 of 12 points \| ETA 1 min 15 s █{6}░{18}$/);
  assert.equal(lines[2], "llama o, M 8");
  assert.match(lines[3] ?? "", /^64 x 32, M 4 +fp16 +█{8} +50\.00 TFLOP\/s +100\.0 us x 1\.000 cublaslt$/);
  assert.match(lines[4] ?? "", /^ +nested-fp8 +█{16} 100\.0 TFLOP\/s +50\.00 us x 2\.000 throttled w8\S*$/);
  assert.match(lines[5] ?? "", /^ +fp8 +incorrect$/);
});

test("a narrow terminal loses bars and rates, and keeps every point, time and ratio", () => {
  const [wide, middle, narrow] = [80, 60, 40].map(linesAt);
  assert.match(wide?.[4] ?? "", /^ +nested-fp8 +█{9} 100\.0 TFLOP\/s +50\.00 us x 2\.000…$/);
  assert.match(middle?.[4] ?? "", /^ +nested-fp8 +█{4} +50\.00 us x 2\.000…$/);
  assert.deepEqual(narrow?.slice(3, 5), ["64 x 32, M 4", "fp16        ███       100.0 us x 1.000…"]);
  for (const columns of [120, 80, 60, 40]) {
    const lines = linesAt(columns);
    assert.ok(
      lines.every((line) => line.length < columns),
      `${columns}: ${lines.join("\n")}`,
    );
    for (const figure of ["64 x 32, M 4", "100.0 us x 1.000", "50.00 us x 2.000", "incorrect"]) {
      assert.equal(lines.filter((line) => line.includes(figure)).length, 1, `${columns}: ${figure}`);
    }
  }
});

test("at the beginning and at the end nothing is in work", () => {
  const frame = (done: number, points: number) =>
    render(
      <BenchScreen device="cpu" done={done} points={points} current="x" rows={[]} columns={80} />,
    ).lastFrame();
  assert.equal(frame(0, 0), `cpu\n0 of 0 points ${"░".repeat(24)}`);
  assert.equal(frame(2, 2), `cpu\n2 of 2 points ${"█".repeat(24)}`);
});
