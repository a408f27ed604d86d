import assert from "node:assert/strict";
import { test } from "node:test";
import { compilePatterns } from "../../src/convert/patterns.ts";
import { UsageError } from "../../src/errors.ts";

const names = [
  "model.layers.0.mlp.up_proj.weight",
  "model.layers.1.mlp.up_proj.weight",
  "model.layers.10.mlp.up_proj.weight",
  "lm_head.weight",
  "a[0].weight",
];

const matching: readonly (readonly [pattern: string, expected: readonly number[]])[] = [
  ["model.layers.0.*", [0]],
  ["model.layers.1*", [1, 2]],
  ["*up_proj", [0, 1, 2]],
  ["model.layers.{0,10}.mlp.up_proj", [0, 2]],
  ["lm_head", [3]],
  ["lm_head.weight", [3]],
  ["*", [0, 1, 2, 3, 4]],
  ["re:model\\.layers\\.1\\d\\.", [2]],
  ["re:.*up_proj$", [0, 1, 2]],
  ["re:lm_head|a\\[", [3, 4]],
];

test("globs and regular expressions match a tensor by its name or its module", () => {
  for (const [pattern, expected] of matching) {
    const matches = compilePatterns("--exclude", [pattern], names);
    assert.deepEqual(
      names.filter(matches),
      expected.map((i) => names[i]),
      pattern,
    );
  }
});

test("several patterns match what one of them does, none matches nothing", () => {
  const matches = compilePatterns("--exclude", ["lm_head", "model.layers.0.*"], names);
  assert.deepEqual(names.filter(matches), [names[0], names[3]]);
  assert.deepEqual(names.filter(compilePatterns("--exclude", [], names)), []);
});

test("a pattern that matches nothing, or does not compile, names itself and its flag", () => {
  const refusals: readonly (readonly [string, RegExp])[] = [
    ["layers.0", /^--include "layers\.0" matches none of the 5 tensors/],
    ["re:layers", /^--include "re:layers" matches none/],
    ["re:(", /^--include "re:\(" is not a regular expression: /],
    ["!lm_head", /matches none/],
    ["", /^--include "" is not a glob: /],
  ];
  for (const [pattern, sentence] of refusals) {
    assert.throws(
      () => compilePatterns("--include", ["lm_head", pattern], names),
      (error) => error instanceof UsageError && sentence.test(error.message),
      pattern,
    );
  }
});
