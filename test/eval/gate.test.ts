import assert from "node:assert/strict";
import { test } from "node:test";

import { evaluateGate, parseGate } from "../../src/eval/gate.ts";

const results = {
  fp16: { ppl: 20, ppl_stderr: null },
  "nested-fp8": { ppl: 20.5, ppl_ratio: 1.01, delta_ln_ppl: -0.5, method: "plain" },
};
const evaluate = (expression: string) => evaluateGate(parseGate(expression), results);

test("reads precision, metric, operator and bound", () => {
  const expression = " nested-fp8.ppl_ratio >= 1.01e0 ";
  assert.deepEqual(parseGate(expression), {
    expression,
    precision: "nested-fp8",
    metric: "ppl_ratio",
    operator: ">=",
    bound: 1.01,
  });
});

for (const [expression, failed] of [
  ["nested-fp8.ppl_ratio>1.01", false],
  ["nested-fp8.ppl_ratio>1.00999", true],
  ["nested-fp8.ppl_ratio>=1.01", true],
  ["nested-fp8.ppl_ratio>=1.011", false],
  ["nested-fp8.ppl_ratio<1.01", false],
  ["nested-fp8.ppl_ratio<1.02", true],
  ["nested-fp8.ppl_ratio<=1.01", true],
  ["nested-fp8.ppl_ratio<=1", false],
  ["fp16.ppl==20", true],
  ["fp16.ppl==20.5", false],
  ["nested-fp8.delta_ln_ppl<-.25", true],
  ["nested-fp8.delta_ln_ppl>-5e-1", false],
  ["fp16.ppl<+2.5E1", true],
] as const) {
  test(`${expression} ${failed ? "fails" : "passes"}`, () => {
    const result = evaluate(expression);
    assert.equal(result.failed, failed);
    assert.equal(result.expression, expression);
    assert.equal(typeof result.value, "number");
  });
}

for (const [expression, value, message] of [
  ["nested-fp8.ppl_ratio>1", 1.01, "nested-fp8.ppl_ratio is 1.01, > 1"],
  ["nested-fp8.ppl_ratio>2", 1.01, "nested-fp8.ppl_ratio is 1.01, not > 2"],
  ["fp8.ppl>1e9", null, "fp8 was not measured, only fp16, nested-fp8"],
  ["fp16.kld_mean>1", null, "fp16 has no kld_mean, only ppl"],
  ["fp16.ppl_stderr>1", null, "fp16 has no ppl_stderr, only ppl"],
  ["nested-fp8.method>1", null, "nested-fp8 has no method, only ppl, ppl_ratio, delta_ln_ppl"],
  ["constructor.name>1", null, "constructor was not measured, only fp16, nested-fp8"],
  ["fp16.constructor>1", null, "fp16 has no constructor, only ppl"],
] as const) {
  test(`${expression} says what it found`, () => {
    const result = evaluate(expression);
    assert.deepEqual([result.value, result.message], [value, message]);
    assert.equal(result.failed, value === null || !message.includes("not >"));
  });
}

for (const expression of [
  "",
  "ppl>1",
  "nested-fp8.ppl_ratio",
  "nested-fp8.ppl_ratio>",
  "nested-fp8.ppl_ratio>x",
  "nested-fp8.ppl_ratio>1.2.3",
  "nested-fp8.ppl_ratio>Infinity",
  "nested-fp8.ppl_ratio>1e999",
  "nested-fp8.ppl_ratio=1",
  "nested-fp8.ppl_ratio!=1",
  "nested-fp8.ppl_ratio=>1",
  "nested-fp8 ppl_ratio>1",
  "-fp8.ppl>1",
  "nested--fp8.ppl>1",
  "nested-fp8.ppl_ratio>1 2",
  "nested-fp8.ppl_ratio>1\u001b[31m",
]) {
  test(`refuses ${JSON.stringify(expression)}`, () => {
    assert.throws(() => parseGate(expression), {
      name: "UsageError",
      message: `--fail-if ${JSON.stringify(expression)} is not PRECISION.METRIC OPERATOR NUMBER`,
    });
  });
}
