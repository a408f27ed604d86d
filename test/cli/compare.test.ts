import assert from "node:assert/strict";
import { lstatSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Comparison } from "../../src/bench/compare.ts";
import type { BenchRow } from "../../src/bench/row.ts";
import { rowOf } from "../bench/rows.ts";
import { sharedScratch } from "../convert/scratch.ts";
import { assertOk, assertRefused, documentOf, nestedfp } from "./run.ts";

const scratch = sharedScratch();
after(scratch.remove);

function written(name: string, rows: readonly BenchRow[], device = "H100"): string {
  const path = join(scratch.path, name);
  const result = { device: { name: device, driver: "580", libraries: {} }, options: { cold: true }, rows };
  writeFileSync(path, JSON.stringify({ schema: "nestedfp.bench/1", result }));
  return path;
}

const base = written("base.json", [rowOf("fp16", {}, 100), rowOf("fp8", {}, 50)]);
const same = written("same.json", [rowOf("fp16", {}, 101), rowOf("fp8", {}, 50), rowOf("fp8", { m: 2 }, 9)]);
const slow = written("slow.json", [rowOf("fp16", {}, 100), rowOf("fp8", {}, 60)]);

test("no regression is exit 0, and what one side lacks is listed", async () => {
  const run = await nestedfp(["compare", base, same]);
  assertOk(run);
  assert.match(run.stdout, /^SAME +fp16 +64 x 32 +1 +100\.0 +101\.0 +\+1\.0 %/m);
  assert.match(run.stdout, /not in before: fp8 fp8 N 64, K 32, M 2/);
  assert.match(run.stdout, /2 rows at a threshold of 3\.0 %: 2 SAME/);
});

test("a slower kernel is exit 1, unless the threshold allows it", async () => {
  const run = await nestedfp(["compare", base, slow]);
  assert.equal(run.code, 1);
  assert.match(run.stdout, /^SLOW +fp8 .*\+20\.0 %/m);
  assertOk(await nestedfp(["compare", base, slow, "--threshold", "25%"]));
  assertOk(await nestedfp(["compare", slow, base]));
});

test("results without a row in common are exit 1, with a list of what each lacks", async () => {
  const [tokens, nothing] = [written("m.json", [rowOf("fp16", { m: 9 }, 100)]), written("0.json", [])];
  const run = await nestedfp(["compare", base, tokens]);
  assert.equal(run.code, 1);
  assert.match(run.stdout, /^No row is in both results\.$/m);
  assert.match(run.stdout, /^not in after: fp8 fp8 N 64, K 32, M 1$/m);
  assert.equal((await nestedfp(["compare", nothing, nothing])).code, 1);
});

test("the document and the report files", async () => {
  const [markdown, csv] = [join(scratch.path, "c.md"), join(scratch.path, "c.csv")];
  const run = await nestedfp(["compare", base, slow, "--json", "-o", markdown]);
  const { schema, result } = documentOf<Comparison>(run);
  assert.equal(schema, "nestedfp.compare/1");
  assert.deepEqual([run.code, result.regression, result.counts.SLOW, result.counts.SAME], [1, true, 1, 1]);
  assert.match(
    readFileSync(markdown, "utf8"),
    /^\| verdict \| kernel[\s\S]*^\| SLOW \| fp8 \| 64 x 32 \| 1 \|/m,
  );
  await nestedfp(["compare", base, slow, "-q", "-o", csv]);
  assert.match(readFileSync(csv, "utf8"), /^verdict,kernel,N x K,M,.*\r\nSAME,fp16,64 x 32,1,/);
});

test("a slower row with too few samples is named, and fails the gate under --require-all, as a missing one does", async () => {
  const [few] = [written("few.json", [rowOf("fp16", {}, 100), { ...rowOf("fp8", {}, 1000), samples: 4 }])];
  const run = await nestedfp(["compare", base, few]);
  assertOk(run);
  assert.match(run.stdout, /^unclear +fp8 .*\+1900\.0 %/m);
  assert.match(run.stdout, /^1 slower by more than the threshold, with too few samples to judge/m);
  assert.equal((await nestedfp(["compare", base, few, "--require-all"])).code, 1);

  const partial = written("partial.json", [rowOf("fp16", {}, 100)]);
  assertOk(await nestedfp(["compare", base, partial]));
  assert.equal((await nestedfp(["compare", base, partial, "--require-all"])).code, 1);
  assertOk(await nestedfp(["compare", base, same, "--require-all"]));
});

test("no report replaces what is compared; several are written, behind a link where it leads", async () => {
  const own = written("own.json", [rowOf("fp16", {}, 100)]);
  const link = join(scratch.path, "link.json");
  symlinkSync(own, link);
  for (const output of [own, link]) {
    const run = await nestedfp(["compare", own, base, "-o", output]);
    assertRefused(run, 2, /\.json" is read, and would be overwritten by the report/);
  }
  assert.match(readFileSync(own, "utf8"), /nestedfp\.bench\/1/);

  const [target, more] = [join(scratch.path, "target.md"), join(scratch.path, "more.csv")];
  writeFileSync(target, "old");
  const behind = join(scratch.path, "behind.md");
  symlinkSync(target, behind);
  assertOk(await nestedfp(["compare", base, same, "-o", behind, "-o", more]));
  assert.match(readFileSync(target, "utf8"), /^\| verdict/);
  assert.match(readFileSync(more, "utf8"), /^verdict,/);
  assert.ok(lstatSync(behind).isSymbolicLink());
});

test("different devices are exit 2 unless allowed, and what is no result is exit 4", async () => {
  const other = written("other.json", [rowOf("fp16", {}, 100)], "H200");
  assertRefused(await nestedfp(["compare", base, other]), 2, /different devices: "H100" and "H200"/);
  assertOk(await nestedfp(["compare", base, other, "--allow-different-devices"]));
  const none = join(scratch.path, "none.json");
  writeFileSync(none, "{}");
  assertRefused(await nestedfp(["compare", base, none]), 4, /none\.json" is no result/);
  assertRefused(await nestedfp(["compare", base, join(scratch.path, "absent")]), 4, /cannot be read/);
});

test("a file of rows that bench wrote compares with itself", async () => {
  const rows = join(scratch.path, "rows.jsonl");
  const flags = ["--warm", "--min-samples", "5", "--timeout", "0.1", "--device", "cpu", "-q"];
  assertOk(await nestedfp(["bench", "--shapes", "16,16", "-m", "1", ...flags, "-o", rows]));
  const run = await nestedfp(["compare", rows, rows, "--json"]);
  assert.equal(run.code, 0);
  const { rows: compared } = documentOf<Comparison>(run).result;
  assert.deepEqual(
    compared.map(({ ratio }) => ratio),
    [1, 1, 1, 1],
  );
});
