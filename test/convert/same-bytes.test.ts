import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { convert } from "../../src/convert/convert.ts";
import { inspect } from "../../src/convert/inspect.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { restore } from "../../src/convert/restore.ts";
import { verifyDirectory } from "../../src/convert/verify.ts";
import { Prng } from "../safetensors/prng.ts";
import type { TensorData } from "./checkpoints.ts";
import {
  decoderLayer,
  treeOf,
  weights,
  withWord,
  writeCheckpoint,
  writeModel,
  zeros,
} from "./checkpoints.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

const options = { plan: defaultPlanOptions, verify: "full", existing: "new" } as const;

test("threads, workers and block size change no byte of what is written", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"), { width: 64 });
  const trees = [];
  for (const settings of [
    runSettings(t, { threads: 1, workers: 1, blockBytes: 2 ** 22 }),
    runSettings(t, { threads: 1, workers: 3, blockBytes: 4096 }),
    runSettings(t, { threads: 2, workers: 1, blockBytes: 64 }),
    runSettings(t, { threads: 5, workers: 2, blockBytes: 1000 }),
    runSettings(t, { threads: 5, workers: 3, blockBytes: 2 ** 18 }),
  ]) {
    const out = join(scratch, `out-${trees.length}`);
    await convert(source, out, options, tool, settings);
    trees.push(treeOf(out));
  }
  for (const tree of trees) assert.deepEqual(tree, trees[0]);
});

test("the place of source and output, and the time, change no byte either", async (t) => {
  const scratch = await scratchDirectory(t);
  const [here, there] = [writeModel(join(scratch, "here")), writeModel(join(scratch, "far/away/there"))];
  await convert(here, join(scratch, "a"), options, tool, runSettings(t));
  await convert(`${there}/`, join(scratch, "b/c"), options, tool, runSettings(t));
  assert.deepEqual(treeOf(join(scratch, "a")), treeOf(join(scratch, "b/c")));
});

describe("rows longer than a block", () => {
  // A word that exceeds 1.875 in the last part of a row changes the shift, and so the patches, of its first part.
  const three = { F16: 0x4200, BF16: 0x4040 } as const;

  function longRows(prng: Prng, dtype: "F16" | "BF16"): TensorData[] {
    const columns = 1600;
    const plain = weights(prng, "a.o_proj.weight", dtype, [16, columns]);
    const places = [
      [1, 0],
      [2, 800],
      [15, columns - 1],
    ] as const;
    const shifted = places.reduce(
      (tensor, [row, column]) => withWord(tensor, row * columns + column, three[dtype]),
      weights(prng, "b.o_proj.weight", dtype, [16, columns]),
    );
    const nan = withWord(weights(prng, "c.o_proj.weight", dtype, [16, columns]), 5 * columns + 900, 0x7fff);
    const vector = weights(prng, "norm.weight", dtype, [2 * columns]);
    return [plain, shifted, nan, vector, zeros("packed", "F6_E2M3", [16, 100])];
  }

  for (const dtype of ["F16", "BF16"] as const) {
    test(`${dtype}: are scanned, split, measured, verified and restored as with large blocks`, async (t) => {
      const scratch = await scratchDirectory(t);
      const source = writeCheckpoint(join(scratch, "source"), {
        "model.safetensors": longRows(new Prng(5), dtype),
      });
      const [large, small] = [runSettings(t, { blockBytes: 2 ** 20 }), runSettings(t, { blockBytes: 640 })];
      await convert(source, join(scratch, "large"), options, tool, large);
      await convert(source, join(scratch, "small"), options, tool, small);
      assert.deepEqual(treeOf(join(scratch, "small")), treeOf(join(scratch, "large")));
      for (const settings of [large, small]) {
        const { problems } = await verifyDirectory(
          join(scratch, "small"),
          { level: "deep", against: source },
          settings,
        );
        assert.deepEqual(problems, []);
      }
      await restore(join(scratch, "large"), join(scratch, "back"), "new", small);
      assert.deepEqual(treeOf(join(scratch, "back")), treeOf(source));
      const [few, many] = [
        await inspect(source, defaultPlanOptions, large),
        await inspect(source, defaultPlanOptions, small),
      ];
      assert.deepEqual(many.tensors, few.tensors);
      const shifted = few.tensors.find(({ name }) => name === "b.o_proj.weight");
      assert.deepEqual([shifted?.action, shifted?.row_shift_max], ["nest", 1]);
    });
  }
});

test("a source that changes between scan and split is refused, and nothing of it is placed", async (t) => {
  const scratch = await scratchDirectory(t);
  const directory = join(scratch, "source");
  const layer = decoderLayer(new Prng(6), 0, "F16", 16);
  writeCheckpoint(directory, { "model.safetensors": layer });
  const settings = runSettings(t);
  const changing = {
    ...settings,
    listener: (event: { type: string; phase?: string }) => {
      if (event.type === "begin" && event.phase === "split")
        writeCheckpoint(directory, { "model.safetensors": decoderLayer(new Prng(7), 0, "F16", 16) });
    },
  };
  const out = join(scratch, "out");
  await assert.rejects(convert(directory, out, options, tool, changing), /changed while it was converted/);
  assert.deepEqual(Object.keys(treeOf(scratch)), ["source/config.json", "source/model.safetensors"]);
});
