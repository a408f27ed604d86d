import assert from "node:assert/strict";
import { test } from "node:test";
import { render } from "ink-testing-library";
import { EvalScreen, type EvalScreenProps } from "../../src/ui/eval-screen.tsx";

const perplexity = (ppl: number) => ({
  windows: 3,
  tokens: 100,
  mean_nll: Math.log(ppl),
  ppl,
  ppl_stderr: 0.25,
});

const partial = new Map([
  ["fp16", perplexity(20)],
  ["nested-fp16", perplexity(20)],
  ["nested-fp8", perplexity(20.1)],
]);

/** The lines of a screen on a terminal of this width. */
function linesAt(columns: number, props: Partial<EvalScreenProps> = {}): string[] {
  const state = { share: 0.5, windowsDone: 3, windows: 6, secondsLeft: 75, partial };
  const { lastFrame } = render(<EvalScreen model="tiny" {...state} {...props} columns={columns} />);
  return (lastFrame() ?? "").split("\n");
}

test("the screen shows progress and every precision against fp16", () => {
  assert.deepEqual(linesAt(80), [
    "tiny | window 3 of 6",
    `${"█".repeat(12)}${"░".repeat(12)} 50.0 % | ETA 1 min 15 s`,
    "fp16        20.0000 +/- 0.2500",
    "nested-fp16 20.0000 +/- 0.2500 x 1.00000",
    "nested-fp8  20.1000 +/- 0.2500 x 1.00500",
  ]);
});

test("what a narrow terminal has no room for is left out, least important first", () => {
  assert.deepEqual(linesAt(40), [
    "tiny | window 3 of 6",
    `${"█".repeat(8)}${"░".repeat(7)} 50.0 % | ETA 1 min 15 s`,
    "fp16        20.0000",
    "nested-fp16 20.0000 x 1.00000",
    "nested-fp8  20.1000 x 1.00500",
  ]);
  assert.deepEqual(linesAt(24), [
    "tiny",
    `${"█".repeat(8)}${"░".repeat(8)} 50.0 %`,
    "fp16        20.0000",
    "nested-fp16 20.0000",
    "nested-fp8  20.1000",
  ]);
});

test("no line is wrapped at any width", () => {
  const longest = {
    model: "m".repeat(255),
    share: 0.99999,
    windowsDone: 123456,
    windows: 123456,
    secondsLeft: 359_999,
    partial: new Map([
      ["fp16", perplexity(1234567)],
      ["nested-fp16", perplexity(1234567)],
    ]),
  };
  for (let columns = 1; columns <= 100; columns++) {
    const lines = linesAt(columns, longest);
    assert.equal(lines.length, 4, `${columns} columns`);
    for (const line of lines) assert.ok(line.length <= Math.max(1, columns - 1), `${columns}: ${line}`);
  }
  const [title, bar] = linesAt(80, longest);
  assert.match(title ?? "", /^m+…m+ \| window 123456 of 123456$/);
  assert.match(bar ?? "", /ETA 99 h 59 min$/);
});

test("before the first window there is no estimate of the time left", () => {
  const lines = linesAt(80, {
    share: 0,
    windowsDone: 0,
    windows: 0,
    secondsLeft: undefined,
    partial: new Map(),
  });
  assert.deepEqual(lines, ["tiny", `${"░".repeat(24)} 0.0 %`]);
});
