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

test("the screen shows progress, the point in work, and bars in proportion to the fastest of a point", () => {
  const { lastFrame } = render(
    <BenchScreen device="H100" done={3} points={12} secondsLeft={75} current="llama o, M 8" rows={rows} />,
  );
  const lines = (lastFrame() ?? "").split("\n");
  assert.match(lines[0] ?? "", /^H100 █{6}░{18} 3 of 12 points \| ETA 1 min 15 s$/);
  assert.equal(lines[1], "llama o, M 8");
  assert.match(lines[2] ?? "", /^64 x 32, M 4 +fp16 +█{8} +50\.00 TFLOP\/s +100\.0 us x 1\.000 cublaslt$/);
  assert.match(lines[3] ?? "", /^ +nested-fp8 +█{16} 100\.0 TFLOP\/s +50\.00 us x 2\.000 throttled w8\S*$/);
  assert.match(lines[4] ?? "", /^ +fp8 +incorrect$/);
});

test("at the beginning and at the end nothing is in work", () => {
  const start = render(<BenchScreen device="cpu" done={0} points={0} rows={[]} />).lastFrame() ?? "";
  assert.match(start, /^cpu ░{24} 0 of 0 points$/);
  const end =
    render(<BenchScreen device="cpu" done={2} points={2} current="x" rows={[]} />).lastFrame() ?? "";
  assert.match(end, /^cpu █{24} 2 of 2 points$/);
});
