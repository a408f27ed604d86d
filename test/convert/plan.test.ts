import assert from "node:assert/strict";
import { test } from "node:test";
import type { NamedTensor } from "../../src/convert/linear-names.ts";
import type { PlanOptions, Reason, TensorScan } from "../../src/convert/plan.ts";
import { defaultPlanOptions, headerRules, planConversion } from "../../src/convert/plan.ts";
import { FormatError, UsageError } from "../../src/errors.ts";
import type { Dtype } from "../../src/safetensors/dtype.ts";

const clean: TensorScan = { maxAbs: 1, maxShift: 0, inexact: 0, underflow: 0 };

type Case = NamedTensor & { readonly scan?: Partial<TensorScan> };

function tensor(
  module: string,
  {
    dtype = "BF16",
    shape = [16, 16],
    ...scan
  }: { dtype?: Dtype; shape?: number[] } & Partial<TensorScan> = {},
): Case {
  return { name: `${module}.weight`, dtype, shape, scan };
}

/** Decides tensors; the result names only what is kept, and why. */
function decide(cases: readonly Case[], options: Partial<PlanOptions> = {}) {
  const full = { ...defaultPlanOptions, ...options };
  const scans = new Map(cases.map(({ name, scan }) => [name, { ...clean, ...scan }]));
  const plan = planConversion(cases, (name) => scans.get(name), headerRules(cases, full), full);
  const kept: Record<string, Reason> = {};
  for (const { name, reason, action } of plan.tensors.values()) {
    assert.equal(action, reason === undefined ? "nest" : "keep");
    if (reason !== undefined) kept[name.slice(0, -".weight".length)] = reason;
  }
  return {
    kept,
    restorable: plan.restorable,
    patchesOf: (module: string) => plan.tensors.get(`${module}.weight`)?.patches,
  };
}

test("the reasons are tried in the order of FORMAT.md", () => {
  // Each fails its own rule and all that come after it, but for the group.
  const all = { maxAbs: Number.NaN, maxShift: 255, inexact: 256 };
  const options = { exclude: ["*excluded*"], bf16: "keep", rowShift: false } as const;
  const { kept } = decide(
    [
      tensor("a.experts.excluded.norm", { shape: [16, 16, 15], dtype: "F64", ...all }),
      tensor("a.excluded.norm", { shape: [16, 15], dtype: "F64", ...all }),
      tensor("a.excluded.o_proj", { shape: [16, 15], dtype: "F64", ...all }),
      tensor("b.o_proj", { shape: [16, 15], dtype: "F64", ...all }),
      tensor("c.o_proj", { shape: [16, 15], ...all }),
      tensor("d.o_proj", { shape: [16, 15], ...all, maxAbs: 1 }),
      tensor("e.o_proj", { shape: [16, 15], ...all, maxAbs: 1, maxShift: 0 }),
      tensor("f.o_proj", { inexact: 256 }),
    ],
    options,
  );
  const order: readonly Reason[] = [
    "unsupported_rank",
    "not_linear",
    "excluded",
    "dtype",
    "nonfinite",
    "range",
    "alignment",
    "bf16_inexact",
  ];
  assert.deepEqual(Object.values(kept), order);
});

test("each limit lies where it should", () => {
  const { kept } = decide([
    tensor("shift15.o_proj", { maxShift: 15 }),
    tensor("shift16.o_proj", { maxShift: 16 }),
    tensor("infinite.o_proj", { maxAbs: Number.POSITIVE_INFINITY }),
    tensor("columns.o_proj", { shape: [16, 24] }),
    tensor("rows.o_proj", { shape: [8, 16] }),
    tensor("five.o_proj", { shape: [16, 1600], inexact: 1280 }),
    tensor("more.o_proj", { shape: [16, 1600], inexact: 1281 }),
  ]);
  assert.deepEqual(kept, {
    "shift16.o_proj": "range",
    "infinite.o_proj": "nonfinite",
    "columns.o_proj": "alignment",
    "rows.o_proj": "alignment",
    "more.o_proj": "patches",
  });
});

test("--no-row-shift keeps what exceeds 1.875, and F16 patches need a shift", () => {
  assert.deepEqual(decide([tensor("a.o_proj", { maxShift: 1 })], { rowShift: false }).kept, {
    "a.o_proj": "range",
  });
  const shifted = decide([tensor("a.o_proj", { dtype: "F16", maxShift: 1, inexact: 3 })]);
  assert.deepEqual([shifted.kept, shifted.patchesOf("a.o_proj"), shifted.restorable], [{}, 3, true]);
});

test("--bf16", () => {
  const words = [tensor("a.o_proj", { inexact: 2 }), tensor("b.o_proj", { inexact: 0 })];
  const [patch, keep, lossy] = (["patch", "keep", "lossy"] as const).map((bf16) => decide(words, { bf16 }));
  assert.deepEqual([patch?.kept, patch?.patchesOf("a.o_proj"), patch?.restorable], [{}, 2, true]);
  assert.deepEqual([keep?.kept, keep?.restorable], [{ "a.o_proj": "bf16_inexact" }, true]);
  assert.deepEqual([lossy?.kept, lossy?.patchesOf("a.o_proj"), lossy?.restorable], [{}, 0, false]);
  assert.throws(
    () => decide(words, { bf16: "refuse" }),
    (error) =>
      error instanceof FormatError &&
      /^2 BF16 words in 1 tensors .*"a\.o_proj\.weight" has 2/.test(error.message),
  );
  assert.deepEqual(decide(words.slice(1), { bf16: "refuse" }).kept, {});
  assert.ok(decide(words.slice(1), { bf16: "lossy" }).restorable, "nothing is lost");
});

test("F32 is split only with --allow-lossy, and never restorable then", () => {
  const words = [tensor("a.o_proj", { dtype: "F32" })];
  assert.deepEqual(decide(words).kept, { "a.o_proj": "dtype" });
  const lossy = decide(words, { allowLossy: true });
  assert.deepEqual([lossy.kept, lossy.restorable], [{}, false]);
});

test("a group is split as a whole or not at all, and one broken group breaks no other", () => {
  const { kept } = decide([
    tensor("l.0.q_proj"),
    tensor("l.0.k_proj", { maxAbs: Number.NaN }),
    tensor("l.0.v_proj"),
    tensor("l.0.o_proj"),
    tensor("l.1.q_proj"),
    tensor("l.0.experts.0.w1"),
    tensor("l.0.experts.1.w2", { shape: [16, 8] }),
    tensor("l.1.experts.0.w1"),
  ]);
  assert.deepEqual(kept, {
    "l.0.q_proj": "group",
    "l.0.k_proj": "nonfinite",
    "l.0.v_proj": "group",
    "l.0.experts.0.w1": "group",
    "l.0.experts.1.w2": "alignment",
  });
});

test("--include adds names, but no embedding and no head", () => {
  const cases = [tensor("model.special"), tensor("lm_head"), tensor("model.embed_tokens")];
  assert.deepEqual(Object.keys(decide(cases, { include: ["*special"] }).kept), [
    "lm_head",
    "model.embed_tokens",
  ]);
  for (const include of ["*", "lm_head", "re:.*embed"])
    assert.throws(() => decide(cases, { include: [include] }), UsageError, include);
  assert.deepEqual(
    decide(cases, { include: ["*special"], exclude: ["*special"] }).kept["model.special"],
    "excluded",
  );
});
