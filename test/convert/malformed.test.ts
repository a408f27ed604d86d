import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { convert } from "../../src/convert/convert.ts";
import { dryRun } from "../../src/convert/dry-run.ts";
import { inspect } from "../../src/convert/inspect.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { FormatError } from "../../src/errors.ts";
import { quote } from "../../src/safetensors/quote.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

const folder = join(import.meta.dirname, "../../fixtures/malformed");
const cases = readdirSync(folder)
  .filter((name) => name.endsWith(".txt"))
  .map((name) => name.slice(0, -".txt".length));

/** A malformed checkpoint that is complete otherwise: a config.json lies beside it. */
function copyCase(name: string, to: string): string {
  const from = join(folder, name);
  if (statSync(from, { throwIfNoEntry: false })?.isDirectory()) {
    cpSync(from, to, { recursive: true });
  } else {
    mkdirSync(to);
    copyFileSync(`${from}.safetensors`, join(to, `${name}.safetensors`));
  }
  writeFileSync(join(to, "config.json"), "{}");
  return statSync(from, { throwIfNoEntry: false })?.isDirectory() ? to : join(to, `${name}.safetensors`);
}

test("convert, its dry run and inspect refuse every malformed checkpoint and write nothing", async (t) => {
  const scratch = await scratchDirectory(t);
  const settings = runSettings(t);
  assert.ok(cases.length > 100);
  for (const name of cases) {
    const root = join(scratch, name);
    const source = copyCase(name, root);
    const output = join(scratch, "out");
    const options = { plan: defaultPlanOptions, verify: "full", existing: "new" } as const;
    const sentence = readFileSync(join(folder, `${name}.txt`), "utf8").trimEnd();
    // The sentence of an empty or ambiguous folder lists the folder, which has one file more here.
    const expected = name.startsWith("26") ? quote(root) : sentence.replace("{root}", quote(root));
    for (const run of [
      () => convert(source, output, options, tool, settings),
      () => dryRun(source, output, defaultPlanOptions, settings),
      () => inspect(source, defaultPlanOptions, settings),
    ]) {
      await assert.rejects(run, (error) => {
        assert.ok(error instanceof FormatError, `${name}: ${error}`);
        assert.equal(error.message.slice(0, expected.length), expected, name);
        return true;
      });
    }
    assert.ok(!readdirSync(scratch).includes("out"), name);
  }
  assert.equal(settings.events.filter((event) => event.type === "begin").length, 0, "no data was read");
});
