import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConvertResult } from "../../src/convert/convert.ts";
import type { DryRunResult } from "../../src/convert/dry-run.ts";
import {
  convertReport,
  dryRunReport,
  exportReport,
  inspectReport,
  restoreReport,
  verifyReport,
} from "../../src/report/conversion.ts";

const converted: ConvertResult = {
  output: "out",
  split: 7,
  kept: 3,
  coverage: 0.75,
  restorable: true,
  reasons: { not_linear: 2, nonfinite: 1 },
  omitted: [],
  bytes: { source: 2048, upper: 1024, lower: 1536 },
  verify: { mode: "full", ok: true, mismatches: 0 },
  seconds: 1.5,
};

test("convert: what was split and why not, sizes as shares of the source, and whether it can be restored", () => {
  assert.equal(
    convertReport(converted),
    [
      "out: converted in 1.50 s",
      "split     7 tensors (coverage 75.0 % of the words that could be)",
      "kept      3 tensors: not_linear 2, nonfinite 1",
      "source    2.00 KiB",
      "FP8 view  1.00 KiB (50.0 % of the source)",
      "lower     1.50 KiB; both 2.50 KiB (125.0 %)",
      "restore   gives the source back byte for byte",
      "verified: sha256 of what was written, every source word rebuilt",
    ].join("\n"),
  );
  const lossy = convertReport({
    ...converted,
    restorable: false,
    verify: { ...converted.verify, mode: "none" },
  });
  assert.match(lossy, /restore {3}not possible/);
  assert.match(lossy, /not verified$/);
});

test("convert: what was not copied, the first of many", () => {
  const omitted = (count: number): ConvertResult["omitted"] =>
    Array.from({ length: count }, (_, i) => ({ path: `onnx-${i}\u001b`, reason: "sub-folder" }));
  const linesOf = (count: number): string[] =>
    convertReport({ ...converted, omitted: omitted(count) })
      .split("\n")
      .filter((line) => line.startsWith("not copied"));
  assert.deepEqual(linesOf(0), []);
  assert.deepEqual(linesOf(1), ["not copied: onnx-0\\u001b (sub-folder)"]);
  assert.equal(linesOf(8).length, 8);
  assert.equal(linesOf(8).at(-1), "not copied: onnx-7\\u001b (sub-folder)");
  assert.deepEqual(linesOf(11).slice(7), ["not copied: onnx-7\\u001b (sub-folder)", "not copied: 3 more"]);
});

const tensors: DryRunResult["tensors"] = [
  {
    name: "a.o_proj.weight",
    dtype: "BF16",
    shape: [16, 32],
    max_abs: 2.5,
    action: "nest",
    reason: null,
    row_shift_max: 1,
    patches: 3,
  },
  {
    name: "evil\u001b[2J",
    dtype: "I64",
    shape: [],
    max_abs: null,
    action: "keep",
    reason: "not_linear",
    row_shift_max: 0,
    patches: 0,
  },
];

test("a dry run says that it wrote nothing", () => {
  const { verify: _, seconds: __, ...planned } = converted;
  const scanned = { decided_by: "scan", peak_disk: null } as const;
  const report = dryRunReport({ ...planned, ...scanned, tensors, peak_memory: 2 ** 28, free_disk: null });
  assert.match(report, /^tensor +dtype +shape +max \|w\| +action +reason +shift +patches\n/);
  assert.match(report, /^a\.o_proj\.weight +BF16 +16 x 32 +2\.500 +nest +1 +3$/m);
  assert.match(report, /^evil\\u001b\[2J +I64 +keep +not_linear$/m);
  assert.match(report, /2\.50 KiB needed, unknown free\nnothing was written$/);
});

test("a dry run by headers says what it does not know, and the parts of the peak", () => {
  const { verify: _, seconds: __, ...planned } = converted;
  const unknown = { max_abs: null, row_shift_max: null, patches: null };
  const report = dryRunReport({
    ...planned,
    decided_by: "headers",
    tensors: tensors.map((tensor) => ({ ...tensor, ...unknown })),
    peak_memory: 2 ** 28,
    peak_disk: { output: 4096, source: 2048, rewrite: 1024, cache: 0, total: 7168 },
    free_disk: 2 ** 20,
  });
  assert.match(report, /^a\.o_proj\.weight +BF16 +16 x 32 +nest$/m);
  assert.match(
    report,
    /^peak {6}7\.00 KiB: output 4\.00 KiB, one source shard 2\.00 KiB, one output shard 1\.00 KiB$/m,
  );
  assert.match(report, /^weights {3}not read: values may keep more tensors whole$/m);
});

test("inspect: the SQNR of what is split, and exact where there is no noise", () => {
  const inspected = tensors.map(({ name, dtype, shape, max_abs, action, row_shift_max }, i) => ({
    name: `${i} ${name}`,
    dtype,
    shape,
    max_abs,
    action,
    row_shift_max,
    sqnr_db: i === 0 ? 31.456 : null,
  }));
  const { output: source, restorable: _, verify: __, seconds: ___, bytes: ____, ...rest } = converted;
  const [exact] = inspected.map((row) => ({ ...row, name: "exact", sqnr_db: null }));
  const report = inspectReport({
    ...rest,
    source,
    converted: false,
    headers_only: false,
    tensors: exact ? [...inspected, exact] : [],
    bytes: { split: 512, kept: 2048 },
  });
  assert.match(report, /^0 a\.o_proj.* 31\.46$/m);
  assert.match(report, /^exact .* exact$/m);
  assert.match(report, /^1 evil\\u001b\[2J +I64 +keep$/m);
  assert.match(report, /512 B split, 2\.00 KiB kept$/);
});

test("verify: a line for each problem, names escaped", () => {
  assert.equal(verifyReport("dir", { ok: true, level: "deep", problems: [] }), "dir: ok (deep)");
  const report = verifyReport("dir", {
    ok: false,
    level: "quick",
    problems: [
      { file: "a\n", tensor: "\u202et", range: [4, 8], kind: "sha256", message: "differs\u001b" },
      { file: "b", kind: "missing", message: "is missing" },
    ],
  });
  assert.deepEqual(report.split("\n"), [
    "a\\u000a: \\u202et: bytes 4-8: differs\\u001b [sha256]",
    "b: is missing [missing]",
    "dir: 2 problems (quick)",
  ]);
});

test("restore and export: files, sizes and what was left out", () => {
  const restored = restoreReport({
    output: "out",
    files: [
      { path: "a", size: 1000, sha256: "00" },
      { path: "b", size: 24, sha256: "11" },
    ],
    omitted: [{ path: "c\u001b", reason: "sub-folder\n" }],
    seconds: 61,
  });
  assert.deepEqual(restored.split("\n"), [
    "00  a",
    "11  b",
    "not in the conversion: c\\u001b (sub-folder\\u000a)",
    "out: 2 files, 1.00 KiB, each with the sha256 of the source (1 min 1 s)",
  ]);
  const exported = exportReport({ output: "out", to: "fp16", files: [{ path: "a", size: 3 }], seconds: 0.5 });
  assert.equal(exported, "out: fp16, 1 files, 3 B (0.50 s)");
});
