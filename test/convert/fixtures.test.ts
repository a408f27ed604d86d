import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { convert } from "../../src/convert/convert.ts";
import type { Manifest } from "../../src/convert/manifest.ts";
import type { PlanOptions } from "../../src/convert/plan.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { restore } from "../../src/convert/restore.ts";
import { verifyDirectory } from "../../src/convert/verify.ts";
import { NestedFpError } from "../../src/errors.ts";
import { sha256 } from "./checkpoints.ts";
import { runOracle } from "./oracle.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const checkpoints = join(root, "fixtures/checkpoints");

type Expected = {
  readonly options: readonly string[];
  readonly exit: number;
  readonly source: string;
  readonly error?: string;
  readonly restorable?: boolean;
  readonly coverage?: number;
  readonly omitted?: readonly string[];
  readonly tensors?: Readonly<
    Record<string, { readonly action: string; readonly reason: string | null } & Counts>
  >;
};
type Counts = {
  readonly max_shift?: number;
  readonly patches?: number;
  readonly inexact?: number;
  readonly underflow?: number;
};

/** What the command line makes of the flags that fixtures use. */
function planOptions(flags: readonly string[]): PlanOptions {
  const options: { -readonly [K in keyof PlanOptions]: PlanOptions[K] } = { ...defaultPlanOptions };
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i];
    if (flag === "--no-row-shift") options.rowShift = false;
    else if (flag === "--allow-lossy") options.allowLossy = true;
    else if (flag === "--bf16") options.bf16 = flags[++i] as PlanOptions["bf16"];
    else if (flag === "--include") options.include = [...options.include, flags[++i] ?? ""];
    else if (flag === "--exclude") options.exclude = [...options.exclude, flags[++i] ?? ""];
    else if (flag === "--max-patches") options.maxPatches = Number(flags[++i]);
    else assert.fail(`fixture flag ${flag}`);
  }
  return options;
}

const cases = readdirSync(checkpoints)
  .filter((name) => name.endsWith(".expected.json"))
  .map((name) => name.slice(0, -".expected.json".length));

describe("every fixture checkpoint", { concurrency: 2 }, () => {
  for (const name of cases) {
    const expected: Expected = JSON.parse(readFileSync(join(checkpoints, `${name}.expected.json`), "utf8"));
    const source = join(checkpoints, name, expected.source);
    test(`${name}: ${expected.exit === 0 ? "converts as its rules say, and back" : `is refused with ${expected.exit}`}`, async (t) => {
      const scratch = await scratchDirectory(t);
      const settings = runSettings(t);
      const output = join(scratch, "out");
      const options = { plan: planOptions(expected.options), verify: "full", existing: "new" } as const;
      if (expected.exit !== 0) {
        await assert.rejects(convert(source, output, options, tool, settings), (error) => {
          assert.ok(error instanceof NestedFpError, String(error));
          assert.equal(error.exitCode, expected.exit);
          assert.match(error.message, new RegExp((expected.error ?? "").replace("(?i)", ""), "i"));
          return true;
        });
        assert.ok(!existsSync(output), "a refused conversion leaves nothing");
        return;
      }
      await convert(source, output, options, tool, settings);
      compareDecisions(output, expected);
      const deep = await verifyDirectory(output, { level: "deep", against: source }, settings);
      assert.deepEqual(deep.problems, []);
      await runOracle(output, source, expected.options);
      if (expected.restorable) {
        await restore(output, join(scratch, "back"), "new", settings);
        compareFiles(
          statSync(source).isDirectory() ? source : dirname(source),
          join(scratch, "back"),
          expected,
        );
      } else {
        await assert.rejects(restore(output, join(scratch, "back"), "new", settings), { exitCode: 4 });
      }
    });
  }
});

function compareDecisions(output: string, expected: Expected): void {
  const manifest: Manifest = JSON.parse(readFileSync(join(output, "nestedfp/manifest.json"), "utf8"));
  const decided = Object.fromEntries(manifest.tensors.map((tensor) => [tensor.name, tensor]));
  assert.deepEqual(Object.keys(decided).sort(), Object.keys(expected.tensors ?? {}).sort());
  for (const [name, wanted] of Object.entries(expected.tensors ?? {})) {
    const tensor = decided[name];
    assert.equal(tensor?.planes ? "nest" : "keep", wanted.action, name);
    assert.equal(tensor?.reason, wanted.reason, name);
    for (const key of ["max_shift", "patches", "inexact", "underflow"] as const) {
      if (wanted[key] !== undefined) assert.equal(tensor?.[key], wanted[key], `${key} of ${name}`);
    }
  }
  assert.equal(manifest.restorable, expected.restorable);
  assert.ok(
    Math.abs(manifest.summary.coverage - (expected.coverage ?? 0)) < 1e-6,
    `coverage ${manifest.summary.coverage}`,
  );
}

/** Every file of the source but the omitted ones, byte for byte, and no other. */
function compareFiles(source: string, restored: string, expected: Expected): void {
  const omitted = new Set(expected.omitted);
  const names = readdirSync(source).filter((name) => !omitted.has(basename(name)));
  assert.deepEqual(readdirSync(restored).sort(), names.sort());
  for (const name of names) assert.equal(hashOf(join(restored, name)), hashOf(join(source, name)), name);
}

function hashOf(path: string): string {
  return sha256(readFileSync(path));
}
