import assert from "node:assert/strict";
import { test } from "node:test";
import type { ProgressState } from "../../src/ui/progress-line.ts";
import { layoutLine, progressLine } from "../../src/ui/progress-line.ts";

const MiB = 2 ** 20;

/** The longest numbers that there are, in the middle of a shard with the usual name. */
const longest: ProgressState = {
  verb: "rebuilding",
  file: "model-00001-of-00030.safetensors",
  share: 0.999,
  done: 1023 * MiB,
  size: 1023 * MiB,
  bytesPerSecond: 1023 * MiB,
  secondsLeft: 754,
};

test("a wider terminal never gives a part less, and the parts always fit", () => {
  let before = layoutLine(0);
  for (let width = 0; width <= 300; width++) {
    const layout = layoutLine(width);
    if (layout.rate === before.rate && layout.bar > 0 === before.bar > 0)
      assert.ok(layout.label >= before.label, `${width}`);
    assert.ok(layout.bar >= before.bar, `${width}`);
    before = layout;
  }
  assert.deepEqual(before, { label: 46, bar: 24, rate: true });
});

test("no line is as long as the terminal is wide, however narrow", () => {
  for (let columns = 1; columns <= 300; columns++) {
    for (const file of [longest.file ?? "", "\u{1f600}".repeat(60), "a"]) {
      const line = progressLine({ ...longest, file }, columns);
      assert.ok([...line].length < Math.max(2, columns), `${columns}: ${line}`);
    }
  }
});

test("bytes, rate and time left are whole on 80 columns; the label still tells shards apart", () => {
  assert.equal(
    progressLine(longest, 80),
    "rebuilding shard 1 of 30   99% | 1023 MiB of 1023 MiB | 1023 MiB/s | ETA 12m34s",
  );
  assert.equal(progressLine(longest, 60), "rebuilding 1/30     99% | 1023 MiB of 1023 MiB | ETA 12m34s");
  assert.match(progressLine(longest, 100), /^rebuilding shard 1 of 30 +█+░+ {2}99% .* ETA 12m34s$/);
  assert.match(
    progressLine(longest, 140),
    /^rebuilding model-00001-of-00030\.safetensors {4}█{23}░ {2}99% .* ETA 12m34s$/,
  );
});

test("times have two units, and nothing is said of what is not known", () => {
  const left = (secondsLeft?: number): string =>
    /ETA (.*)$/.exec(progressLine({ ...longest, secondsLeft }, 120))?.[1] ?? "";
  assert.deepEqual([0, 59.2, 61, 3599.5, 36_000, 400_000, 1e9].map(left), [
    "0s",
    "1m00s",
    "1m01s",
    "1h00m",
    "10h00m",
    "4d",
    "999d",
  ]);
  assert.equal(left(undefined), "–");
  const begun = { ...longest, bytesPerSecond: undefined };
  assert.match(progressLine(begun, 120), / \| – \| ETA/);
});

test("a name cannot move the cursor", () => {
  assert.match(progressLine({ ...longest, file: "\u001b[2J" }, 120), /^rebuilding \\u001b\[2J /);
});
