import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { FormatError } from "../../src/errors.ts";
import { openCheckpoint } from "../../src/safetensors/checkpoint.ts";
import { quote } from "../../src/safetensors/quote.ts";

const folder = join(import.meta.dirname, "../../fixtures/malformed");
const expectations = readdirSync(folder).filter((name) => name.endsWith(".txt"));

test("the folder of malformed checkpoints is complete", () => {
  const cases = readdirSync(folder).filter((name) => /^\d{3}-/.test(name) && !name.endsWith(".txt"));
  assert.equal(cases.length, expectations.length);
  assert.ok(cases.length > 100);
});

for (const file of expectations) {
  const name = file.slice(0, -".txt".length);
  test(`refuses ${name}`, async () => {
    const directory = join(folder, name);
    const isDirectory = statSync(directory, { throwIfNoEntry: false })?.isDirectory() ?? false;
    const expected = readFileSync(join(folder, file), "utf8").trimEnd().replace("{root}", quote(directory));
    await assert.rejects(openCheckpoint(isDirectory ? directory : `${directory}.safetensors`), (error) => {
      assert.ok(error instanceof FormatError, String(error));
      assert.equal(error.message, expected);
      assert.ok(error.hint !== undefined && error.hint !== "", "a hint says what to do");
      return true;
    });
  });
}
