import assert from "node:assert/strict";
import { test } from "node:test";
import type { DoctorResult } from "../../src/doctor/doctor.ts";
import { assertOk, assertRefused, documentOf, nestedfp } from "./run.ts";

test("doctor tries every kernel of the CPU and says what it found", async () => {
  const run = await nestedfp(["doctor", "--device", "cpu"]);
  assertOk(run);
  assert.match(run.stdout, /^ok {4}node /);
  assert.match(run.stdout, /^ok {4}kernels +fp16, nested-fp16, nested-fp8, fp8 on cpu /m);
  assert.equal(run.stdout.match(/^ok {4}gemm /gm)?.length, 4);
  assert.match(run.stdout, /nestedfp works here/);
});

test("the document has every finding", async () => {
  const run = await nestedfp(["doctor", "--device", "cpu", "--json"]);
  assertOk(run);
  const { schema, result } = documentOf<DoctorResult>(run);
  assert.equal(schema, "nestedfp.doctor/1");
  assert.equal(result.ok, true);
  for (const { name, status, detail, mend } of result.findings) {
    assert.ok(name !== "" && detail !== "");
    assert.equal(status === "ok", mend === undefined, name);
  }
});

test("a GPU asked for that is not there is a failure, and an unknown device is usage", async () => {
  const run = await nestedfp(["doctor", "--device", "cuda:99"]);
  assert.equal(run.code, 1);
  assert.match(run.stdout, /^fail {2}gemm +no usable GPU/m);
  assertRefused(await nestedfp(["doctor", "--device", "tpu"]), 2, /--device is "tpu"/);
});
