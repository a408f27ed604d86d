import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ConvertResult } from "../../src/convert/convert.ts";
import type { DryRunResult } from "../../src/convert/dry-run.ts";
import type { ExportResult } from "../../src/convert/export.ts";
import type { InspectResult } from "../../src/convert/inspect.ts";
import type { RestoreResult } from "../../src/convert/restore.ts";
import type { VerifyResult } from "../../src/convert/verify.ts";
import { treeOf } from "../convert/checkpoints.ts";
import { sharedScratch } from "../convert/scratch.ts";
import type { Envelope } from "./run.ts";
import { assertOk, documentOf, nestedfp, root } from "./run.ts";

const source = join(root, "fixtures/checkpoints/nonfinite");
const scratch = sharedScratch();
const converted = join(scratch.path, "converted");
after(scratch.remove);

let conversion: Envelope<ConvertResult>;
before(async () => {
  const run = await nestedfp(["convert", source, "-o", converted, "--json"]);
  assertOk(run);
  conversion = documentOf(run);
});

function assertEnvelope(document: Envelope<unknown>, command: string): void {
  assert.deepEqual(Object.keys(document), ["schema", "tool", "argv", "environment", "result"]);
  assert.equal(document.schema, `nestedfp.${command}/1`);
  assert.equal(document.tool.name, "nestedfp");
  assert.match(document.tool.version, /^\d+\.\d+\.\d+/);
  assert.equal(document.argv[0], command);
  assert.equal(document.environment.node, process.version);
}

async function resultOf<Result>(args: readonly string[], code = 0): Promise<Result> {
  const run = await nestedfp([...args, "--json"]);
  assert.equal(run.code, code, run.stderr);
  assert.equal(run.stderr, "");
  const document = documentOf<Result>(run);
  assertEnvelope(document, args[0] ?? "");
  return document.result;
}

describe("--json prints one document", { concurrency: 2 }, () => {
  test("of convert: what was split, why the rest was not, and the sizes of what was written", () => {
    assertEnvelope(conversion, "convert");
    const { seconds, ...result } = conversion.result;
    const manifest = JSON.parse(readFileSync(join(converted, "nestedfp/manifest.json"), "utf8"));
    const sizeOf = (role: string): number =>
      manifest.files
        .filter((file: { role: string }) => file.role === role)
        .reduce((sum: number, file: { size: number }) => sum + file.size, 0);
    assert.ok(seconds > 0);
    assert.deepEqual(result, {
      output: converted,
      split: manifest.summary.split,
      kept: manifest.summary.kept,
      coverage: manifest.summary.coverage,
      restorable: true,
      reasons: manifest.summary.reasons,
      omitted: manifest.source.omitted,
      bytes: {
        source: readFileSync(join(source, "model.safetensors")).length,
        upper: sizeOf("upper"),
        lower: sizeOf("lower"),
      },
      verify: { mode: "full", ok: true, mismatches: 0 },
    });
    assert.ok((result.reasons.nonfinite ?? 0) > 0);
  });

  test("of convert --dry-run, which writes nothing and foresees the sizes", async () => {
    const out = join(scratch.path, "planned");
    const result = await resultOf<DryRunResult>(["convert", source, "-o", out, "--dry-run"]);
    assert.deepEqual(result.bytes, conversion.result.bytes);
    assert.equal(result.split, conversion.result.split);
    assert.ok(!("planned" in treeOf(scratch.path)));
  });

  test("of verify", async () => {
    const result = await resultOf<VerifyResult>(["verify", converted, "--deep"]);
    assert.deepEqual(result, { ok: true, level: "deep", problems: [] });
  });

  test("of verify that finds damage, with exit 1", async () => {
    const damaged = join(scratch.path, "damaged");
    assertOk(await nestedfp(["convert", source, "-o", damaged]));
    rmSync(join(damaged, "nestedfp/lower-00001-of-00001.nfp"));
    const result = await resultOf<VerifyResult>(["verify", damaged], 1);
    assert.deepEqual(result, {
      ok: false,
      level: "default",
      problems: [{ file: "nestedfp/lower-00001-of-00001.nfp", kind: "missing", message: "is missing" }],
    });
  });

  test("of inspect, the same of a source and of what it was converted to", async () => {
    const [before, after] = [
      await resultOf<InspectResult>(["inspect", source]),
      await resultOf<InspectResult>(["inspect", converted]),
    ];
    assert.equal(before.coverage, conversion.result.coverage);
    assert.deepEqual(after.tensors, before.tensors);
    const keys = ["name", "dtype", "shape", "max_abs", "action", "row_shift_max", "sqnr_db"];
    for (const tensor of before.tensors) {
      assert.deepEqual(
        Object.keys(tensor),
        tensor.action === "keep" ? keys.toSpliced(5, 0, "reason") : keys,
        tensor.name,
      );
    }
  });

  test("of restore and export", async () => {
    const back = join(scratch.path, "back");
    const restored = await resultOf<RestoreResult>(["restore", converted, "-o", back]);
    assert.deepEqual(
      Object.fromEntries(restored.files.map(({ path, sha256 }) => [path, sha256])),
      treeOf(source),
    );
    const exported = await resultOf<ExportResult>([
      "export",
      converted,
      "--to",
      "fp16",
      "-o",
      join(scratch.path, "half"),
    ]);
    assert.equal(exported.to, "fp16");
  });
});

describe("reports", { concurrency: 2 }, () => {
  test("-q prints nothing", async () => {
    const out = join(scratch.path, "quiet");
    for (const args of [
      ["convert", join(root, "fixtures/checkpoints/fused-experts"), "-o", out],
      ["verify", out],
      ["inspect", out],
    ]) {
      const run = await nestedfp([...args, "-q"]);
      assert.deepEqual([run.code, run.stdout, run.stderr], [0, "", ""], args[0]);
    }
  });

  test("a warning goes to stderr, also beside --json", async () => {
    const fused = join(root, "fixtures/checkpoints/fused-experts");
    const run = await nestedfp(["convert", fused, "--dry-run", "--json"]);
    assert.match(run.stderr, /^Warning: \d+ fused expert tensors \(\d+\.\d % of all bytes\) stay 16-bit/);
    documentOf(run);
  });

  test("a report file has the format of its extension", async () => {
    const file = (name: string): string => join(scratch.path, name);
    const document = documentOf<InspectResult>(
      await nestedfp(["inspect", converted, "-o", file("t.json"), "--json"]),
    );
    assert.deepEqual(JSON.parse(readFileSync(file("t.json"), "utf8")), document);
    const rows = document.result.tensors.length;
    await Promise.all(
      ["t.csv", "t.md", "t.txt"].map(async (name) =>
        assertOk(await nestedfp(["inspect", converted, "-o", file(name)])),
      ),
    );
    assert.equal(readFileSync(file("t.csv"), "utf8").split("\r\n").length, rows + 2);
    assert.match(readFileSync(file("t.md"), "utf8"), /^\| tensor \|.*\n\| --- \|/);
    assert.match(readFileSync(file("t.txt"), "utf8"), /^tensor +dtype/);
  });

  test("a report file that is there already is replaced", async () => {
    const report = join(scratch.path, "report.json");
    writeFileSync(report, "old");
    assertOk(await nestedfp(["verify", converted, "-o", report]));
    assert.equal(JSON.parse(readFileSync(report, "utf8")).schema, "nestedfp.verify/1");
  });
});
