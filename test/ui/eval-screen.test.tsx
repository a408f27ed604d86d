import assert from "node:assert/strict";
import { test } from "node:test";
import { render } from "ink-testing-library";
import { EvalScreen } from "../../src/ui/eval-screen.tsx";

const perplexity = (ppl: number) => ({
  windows: 3,
  tokens: 100,
  mean_nll: Math.log(ppl),
  ppl,
  ppl_stderr: 0.25,
});

test("the screen shows progress and every precision against fp16", () => {
  const partial = new Map([
    ["fp16", perplexity(20)],
    ["nested-fp8", perplexity(20.1)],
  ]);
  const { lastFrame } = render(
    <EvalScreen model="tiny" share={0.5} windowsDone={3} windows={6} secondsLeft={75} partial={partial} />,
  );
  const frame = lastFrame() ?? "";
  assert.match(frame, /^tiny\n█{12}░{12} 50\.0 % \| window 3 of 6 \| ETA 1 min 15 s\n/);
  assert.match(frame, /fp16 +20\.0000 \+\/- 0\.2500$/m);
  assert.match(frame, /nested-fp8 +20\.1000 \+\/- 0\.2500 x 1\.00500$/m);
});

test("the widest line fits a terminal of 80 columns, and a long name is cut", () => {
  const { lastFrame } = render(
    <EvalScreen
      model={"m".repeat(255)}
      share={0.99999}
      windowsDone={123456}
      windows={123456}
      secondsLeft={359_999}
      partial={new Map([["nested-fp16", perplexity(1234567)]])}
    />,
  );
  const lines = (lastFrame() ?? "").split("\n");
  assert.equal(lines.length, 3);
  assert.match(lines[1] ?? "", /ETA 99 h 59 min$/);
  for (const line of lines.slice(1)) assert.ok(line.length < 80, line);
});

test("before the first window there is no estimate of the time left", () => {
  const { lastFrame } = render(
    <EvalScreen
      model="tiny"
      share={0}
      windowsDone={0}
      windows={0}
      secondsLeft={undefined}
      partial={new Map()}
    />,
  );
  assert.match(lastFrame() ?? "", /^tiny\n░{24} 0\.0 %$/);
});
