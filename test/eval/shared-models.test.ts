import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { layoutWindows } from "../../src/eval/windows.ts";
import { loadTokenizer } from "../../src/model/tokenizer.ts";
import { sharedData, skipWithoutData } from "../model/shared-data.ts";
import { convertForTest, readJson, runModel } from "./run-model.ts";

// The first windows of WikiText-2 in full precision of the references; the whole text takes minutes, and its
// perplexities are in EVAL.md.
const windowsCompared = { tiny: 8, small: 2 } as const;

type Reference = {
  readonly test_ids_sha256_int32le: string;
  readonly results: Readonly<
    Record<string, { readonly plain: { readonly first_windows_nll: readonly number[] } }>
  >;
};

for (const [model, count] of Object.entries(windowsCompared)) {
  test(`${model}: token ids and the first windows of WikiText-2 as in its reference`, {
    skip: skipWithoutData,
  }, async (t) => {
    const directory = join(sharedData, "models", model);
    const reference = readJson<Reference>(join(directory, "reference.json"));
    const tokenizer = await loadTokenizer(directory);
    const ids = tokenizer.encode(readFileSync(join(sharedData, "wikitext-2/test.txt"), "utf8"));
    const sha256 = createHash("sha256").update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
    assert.equal(sha256.digest("hex"), reference.test_ids_sha256_int32le);
    const { windows } = layoutWindows(ids, "plain", {
      ctx: 512,
      limit: count,
      modelMax: 1024,
      addsBos: tokenizer.addsBos,
    });
    const result = await runModel(t, await convertForTest(t, directory), windows, {
      precisions: ["fp16", "nested-fp8", "fp8"],
      activations: "fp16",
    });
    for (const [precision, name] of [
      ["fp16", "fp16"],
      ["nested-fp8", "nested_fp8"],
      ["fp8", "fp8_per_channel"],
    ] as const) {
      const expected = reference.results[name]?.plain.first_windows_nll ?? [];
      const sums = result.precisions[precision]?.nll?.map((nll) => nll.reduce((a, b) => a + b, 0)) ?? [];
      assert.equal(sums.length, count);
      for (const [window, sum] of sums.entries()) {
        const wanted = expected[window] ?? Number.NaN;
        assert.ok(
          Math.abs(sum - wanted) <= 1e-5 * wanted,
          `${precision}, window ${window}: ${sum}, ${wanted}`,
        );
      }
    }
  });
}
