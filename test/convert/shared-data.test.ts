import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { convert } from "../../src/convert/convert.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { restore } from "../../src/convert/restore.ts";
import { verifyDirectory } from "../../src/convert/verify.ts";
import { treeOf } from "./checkpoints.ts";
import { runOracle } from "./oracle.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

// Models of a size and of architectures that fixtures are too small for; they do not belong to the repository.
const data = join(import.meta.dirname, "../../../shared/data");
const skip = !existsSync(data) && "skipped: ../shared/data is absent";
const archs = join(data, "archs");

const sources = [
  { name: "models/small", isSmall: false },
  ...(skip ? [] : readdirSync(archs).map((arch) => ({ name: `archs/${arch}`, isSmall: true }))),
];

describe("a model of ../shared/data is converted, verified word by word, and restored:", {
  skip,
  concurrency: 2,
}, () => {
  for (const { name, isSmall } of sources) {
    test(name, async (t) => {
      const scratch = await scratchDirectory(t);
      const settings = runSettings(t, { blockBytes: 2 ** 18 });
      const [source, out, back] = [join(data, name), join(scratch, "out"), join(scratch, "back")];
      const options = { plan: defaultPlanOptions, verify: "full", existing: "new" } as const;
      const result = await convert(source, out, options, tool, settings);
      assert.ok(result.restorable && result.coverage === 1, `coverage ${result.coverage}`);
      const deep = await verifyDirectory(out, { level: "deep", against: source }, settings);
      assert.deepEqual(deep.problems, []);
      // The checker decodes word by word in Python: seconds for a small model, many minutes for a large one.
      if (isSmall) await runOracle(out, source, []);
      await restore(out, back, "new", settings);
      assert.deepEqual(treeOf(back), treeOf(source));
    });
  }
});
