import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMRange } from "../../src/bench/m-range.ts";
import { UsageError } from "../../src/errors.ts";

const cases: Readonly<Record<string, readonly number[]>> = {
  "7": [7],
  "1,2,4,8,16-128*2": [1, 2, 4, 8, 16, 32, 64, 128],
  "3-6": [3, 4, 5, 6],
  "1-10+4": [1, 5, 9],
  "5-5": [5],
  "16-100*3": [16, 48],
  " 4 , 2 ": [4, 2],
  "1-4,2,4-8*2": [1, 2, 3, 4, 8],
};

for (const [text, values] of Object.entries(cases)) {
  test(`-m ${text}`, () => assert.deepEqual(parseMRange(text), values));
}

test("the marks' twelve values", () => {
  assert.deepEqual(parseMRange("1,8-8192*2"), [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]);
});

const refused = "0|-1|a|1,,2|4-2|1-8*1|1-8+0|1-8*0|1-1048577|1-20000|1.5|1-2-3|1*2|";
for (const text of refused.split("|")) {
  test(`-m ${JSON.stringify(text)} is refused`, () => assert.throws(() => parseMRange(text), UsageError));
}
