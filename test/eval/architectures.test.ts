import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openModel } from "../../src/model/model-files.ts";
import { convertForTest, readJson, runModel, wholeWindows } from "./run-model.ts";

// Random checkpoints of each architecture with per-token references from transformers (EVAL.md). These were computed
// after model.half().float(), which leaves the inverse frequencies of RoPE rounded to binary16: a decoder in double
// precision agrees to 1.3e-6 a token with that rounding, and to 1.6e-3 without. Hence ropeFrequencies here; the
// references of models/tiny and models/small have FP32 frequencies.
const archs = fileURLToPath(new URL("../../../shared/data/archs", import.meta.url));
const skip = existsSync(archs) ? false : "skipped: ../shared/data is absent";

type Reference = {
  readonly input_ids: readonly (readonly number[])[];
  readonly mean_nll: number;
  readonly nll_row0: readonly number[];
} & { readonly [key: string]: number & readonly number[] };

const names = ["llama", "llama3-rope", "mistral", "phi3", "phi4", "qwen2", "qwen3"];

/** EVAL.md: every per-token NLL within 2e-4, the mean within 1e-5 relative. */
function compare(
  nll: readonly (readonly number[])[] | undefined,
  reference: Reference,
  suffix: string,
): void {
  const expected = reference[`nll_row0${suffix}`] as readonly number[];
  assert.equal(nll?.[0]?.length, expected.length);
  for (const [t, value] of expected.entries()) {
    const actual = nll?.[0]?.[t] ?? Number.NaN;
    assert.ok(Math.abs(actual - value) <= 2e-4, `token ${t}: ${actual}, reference ${value}`);
  }
  compareMean(nll, reference, suffix, 1e-5);
}

function compareMean(
  nll: readonly (readonly number[])[] | undefined,
  reference: Reference,
  suffix: string,
  relative: number,
): void {
  const all = nll?.flat() ?? [];
  const mean = all.reduce((a, b) => a + b, 0) / all.length;
  const expected = reference[`mean_nll${suffix}`] as number;
  assert.ok(Math.abs(mean - expected) <= relative * expected, `mean ${mean}, reference ${expected}`);
}

describe("every architecture against transformers", { skip }, () => {
  for (const name of names) {
    const reference = (): Reference => readJson(join(archs, name, "reference.json"));

    test(`${name}: fp16 of the source checkpoint`, { skip }, async (t) => {
      const result = await runModel(t, join(archs, name), wholeWindows(reference().input_ids), {
        precisions: ["fp16"],
        ropeFrequencies: "fp16",
      });
      compare(result.precisions.fp16?.nll, reference(), "");
    });

    test(`${name}: the default, FP32 frequencies as in transformers, is near that and not the same`, {
      skip,
    }, async (t) => {
      const windows = wholeWindows(reference().input_ids);
      const result = await runModel(t, join(archs, name), windows, { precisions: ["fp16"] });
      assert.equal(result.rope_frequencies, "fp32");
      const nll = result.precisions.fp16?.nll;
      compareMean(nll, reference(), "", 1e-5);
      const most = Math.max(
        ...reference().nll_row0.map((value, at) => Math.abs(value - (nll?.[0]?.[at] ?? 0))),
      );
      assert.ok(most > 2e-4 && most < 5e-3, `largest difference of a token: ${most}`);
    });

    for (const [suffix, rowShift] of [
      ["_nestedfp8_row_shift", true],
      ["_nestedfp8_weights_only", false],
    ] as const) {
      test(`${name}: nested-fp8 weights only, ${rowShift ? "with" : "without"} row shift`, {
        skip,
      }, async (t) => {
        const converted = await convertForTest(t, join(archs, name), { rowShift });
        const result = await runModel(t, converted, wholeWindows(reference().input_ids), {
          precisions: ["nested-fp8"],
          ropeFrequencies: "fp16",
          activations: "fp16",
        });
        compare(result.precisions["nested-fp8"]?.nll, reference(), suffix);
      });
    }

    test(`${name}: nested-fp8 with E4M3 activations, on the mean; nested-fp16 equals fp16`, {
      skip,
    }, async (t) => {
      const converted = await convertForTest(t, join(archs, name));
      const result = await runModel(t, converted, wholeWindows(reference().input_ids), {
        precisions: ["fp16", "nested-fp16", "nested-fp8", "fp8"],
        ropeFrequencies: "fp16",
      });
      compareMean(result.precisions["nested-fp8"]?.nll, reference(), "_nestedfp8_row_shift_w8a8", 2e-3);
      assert.deepEqual(result.precisions["nested-fp16"]?.nll, result.precisions.fp16?.nll);
      assert.equal(result.precisions["nested-fp16"]?.kld_max, 0);
    });
  }

  test("mixtral is refused by name", { skip }, async () => {
    await assert.rejects(openModel(join(archs, "mixtral")), {
      exitCode: 4,
      message: `"${join(archs, "mixtral/config.json")}": model_type "mixtral" is not supported`,
    });
  });
});
