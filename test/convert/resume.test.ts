import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import type { ConvertOptions } from "../../src/convert/convert.ts";
import { convert } from "../../src/convert/convert.ts";
import type { Phase, RunEvent } from "../../src/convert/events.ts";
import { exportDirectory } from "../../src/convert/export.ts";
import { OutputDirectory } from "../../src/convert/output-directory.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { restore } from "../../src/convert/restore.ts";
import { verifyDirectory } from "../../src/convert/verify.ts";
import { treeOf, writeCheckpoint, writeModel, zeros } from "./checkpoints.ts";
import { runSettings, scratchDirectory, tool } from "./scratch.ts";

const fresh: ConvertOptions = { plan: defaultPlanOptions, verify: "full", existing: "new" };
const resumed: ConvertOptions = { ...fresh, existing: "resume" };

/** Settings of a run that is interrupted when it comes to the `nth` file of a phase. */
function interruptedAt(t: TestContext, phase: Phase, nth: number): ReturnType<typeof runSettings> {
  const settings = runSettings(t, { workers: 1 });
  const controller = new AbortController();
  let seen = 0;
  const listener = (event: RunEvent): void => {
    settings.listener(event);
    if (event.type === "begin" && event.phase === phase && ++seen === nth)
      controller.abort(new Error("stop"));
  };
  return { ...settings, listener, signal: controller.signal };
}

const phases: readonly Phase[] = ["scan", "split", "verify"];

for (const phase of phases) {
  for (const nth of [1, 2, 3]) {
    test(`a run interrupted at ${phase} ${nth} of 3 goes on and gives the same directory`, async (t) => {
      const scratch = await scratchDirectory(t);
      const source = writeModel(join(scratch, "source"));
      await convert(source, join(scratch, "whole"), fresh, tool, runSettings(t));
      const out = join(scratch, "out");
      await assert.rejects(convert(source, out, fresh, tool, interruptedAt(t, phase, nth)), /^Error: stop$/);
      assert.ok(!readdirSync(join(out, ".nestedfp")).some((name) => name.endsWith(".tmp")));

      const settings = runSettings(t, { workers: 1 });
      await convert(source, out, resumed, tool, settings);
      assert.deepEqual(treeOf(out), treeOf(join(scratch, "whole")));
      // Reading is what a resumed run saves: a file that was done says all its bytes at once.
      const read = settings.events.filter((event) => event.type === "bytes" && event.phase === "scan").length;
      const whole = runSettings(t, { workers: 1 });
      await convert(source, join(scratch, "again"), fresh, tool, whole);
      const all = whole.events.filter((event) => event.type === "bytes" && event.phase === "scan").length;
      const done = phase === "scan" ? nth - 1 : 3;
      assert.ok(done === 0 ? read === all : read < all, `${read} of ${all} reads after ${done} scans`);
    });
  }
}

test("what a run under --force was to replace is gone, also when it is killed first and then resumed", async (t) => {
  const scratch = await scratchDirectory(t);
  const [old, source] = [join(scratch, "old"), join(scratch, "source")];
  writeModel(old);
  writeCheckpoint(source, {
    "model.safetensors": [zeros("model.layers.0.mlp.down_proj.weight", "F16", [16, 16])],
  });
  const whole = join(scratch, "whole");
  await convert(source, whole, fresh, tool, runSettings(t));

  const out = join(scratch, "out");
  await convert(old, out, fresh, tool, runSettings(t));
  writeFileSync(join(out, "notes.txt"), "mine");
  const forced: ConvertOptions = { ...fresh, existing: "force" };
  await assert.rejects(convert(source, out, forced, tool, interruptedAt(t, "scan", 1)), /^Error: stop$/);
  await convert(source, out, resumed, tool, runSettings(t));
  const { "notes.txt": notes, ...tree } = treeOf(out);
  assert.deepEqual(tree, treeOf(whole));
  assert.ok(notes, "a file of someone else stays");
});

test("--force replaces a finished and an unfinished conversion of another source", async (t) => {
  const scratch = await scratchDirectory(t);
  const [old, source] = [
    writeModel(join(scratch, "old"), { seed: 1 }),
    writeModel(join(scratch, "new"), { seed: 2 }),
  ];
  rmSync(join(source, "tokenizer.json"));
  const whole = join(scratch, "whole");
  await convert(source, whole, fresh, tool, runSettings(t));
  const [finished, unfinished] = [join(scratch, "finished"), join(scratch, "unfinished")];
  await convert(old, finished, fresh, tool, runSettings(t));
  await assert.rejects(convert(old, unfinished, fresh, tool, interruptedAt(t, "split", 3)));
  for (const out of [finished, unfinished]) {
    await convert(source, out, { ...fresh, existing: "force" }, tool, runSettings(t));
    assert.deepEqual(treeOf(out), treeOf(whole));
  }
});

test("a pair that was not read back is made again where --verify full asks for it", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"));
  const out = join(scratch, "out");
  const careless = { ...fresh, verify: "none" } as const;
  await assert.rejects(convert(source, out, careless, tool, interruptedAt(t, "split", 3)));
  const upper = join(out, "model-00001-of-00003.safetensors");
  const bytes = readFileSync(upper);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 0xff;
  writeFileSync(upper, bytes);
  const result = await convert(source, out, resumed, tool, runSettings(t));
  assert.deepEqual(result.verify, { mode: "full", ok: true, mismatches: 0 });
  const { problems } = await verifyDirectory(out, { level: "deep" }, runSettings(t));
  assert.deepEqual(problems, []);
});

test("damaged records cost the work again, and nothing else", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"));
  const [whole, stopped] = [join(scratch, "whole"), join(scratch, "stopped")];
  await convert(source, whole, fresh, tool, runSettings(t));
  await assert.rejects(convert(source, stopped, fresh, tool, interruptedAt(t, "split", 3)));
  for (const record of readdirSync(join(stopped, ".nestedfp"))) {
    for (const damage of ["remove", "leave a part of"] as const) {
      const out = join(scratch, `${record}-${damage}`);
      cpSync(stopped, out, { recursive: true });
      const path = join(out, ".nestedfp", record);
      if (damage === "remove") rmSync(path);
      else writeFileSync(path, readFileSync(path).subarray(0, 10));
      await convert(source, out, resumed, tool, runSettings(t));
      assert.deepEqual(treeOf(out), treeOf(whole), `${damage} ${record}`);
    }
  }
});

test("a killed run that had only begun, or had all but finished, is resumed", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"));
  const whole = join(scratch, "whole");
  await convert(source, whole, fresh, tool, runSettings(t));
  const states: Readonly<Record<string, (out: string) => void>> = {
    "the folder and its lock": (out) => {
      mkdirSync(join(out, ".nestedfp"), { recursive: true });
      writeFileSync(join(out, ".nestedfp/lock"), "");
    },
    "temporary files": (out) => {
      mkdirSync(join(out, ".nestedfp"), { recursive: true });
      writeFileSync(join(out, ".nestedfp/model-00001-of-00003.safetensors.tmp"), "half");
      writeFileSync(join(out, ".nestedfp/run.json.tmp"), "{");
    },
    "everything but the last clearing up": (out) => {
      cpSync(whole, out, { recursive: true });
      mkdirSync(join(out, ".nestedfp"));
      writeFileSync(join(out, ".nestedfp/lock"), "");
    },
  };
  for (const [state, make] of Object.entries(states)) {
    const out = join(scratch, state);
    make(out);
    await convert(source, out, resumed, tool, runSettings(t));
    assert.deepEqual(treeOf(out), treeOf(whole), state);
  }
});

test("a finished directory is not taken for that of a source that changed since", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"));
  const out = join(scratch, "out");
  await convert(source, out, fresh, tool, runSettings(t));
  const changes: Readonly<Record<string, () => void>> = {
    "a weight": () => {
      const path = join(source, "model-00001-of-00003.safetensors");
      const bytes = readFileSync(path);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 0x01;
      writeFileSync(path, bytes);
    },
    "config.json": () => writeFileSync(join(source, "config.json"), '{"architectures": ["Other"]}'),
    "one more file": () => writeFileSync(join(source, "tokenizer.json"), "{}"),
  };
  for (const [what, change] of Object.entries(changes)) {
    const copy = join(scratch, "before");
    cpSync(source, copy, { recursive: true });
    change();
    await assert.rejects(convert(source, out, resumed, tool, runSettings(t)), { exitCode: 2 }, what);
    rmSync(source, { recursive: true });
    cpSync(copy, source, { recursive: true });
    rmSync(copy, { recursive: true });
  }
  assert.equal((await convert(source, out, resumed, tool, runSettings(t))).verify.mode, "quick");
});

test("shards that a killed restore left, or that it found, are not a conversion's to remove", async (t) => {
  const scratch = await scratchDirectory(t);
  const source = writeModel(join(scratch, "source"));
  const converted = join(scratch, "converted");
  await convert(source, converted, fresh, tool, runSettings(t));
  const out = join(scratch, "out");
  mkdirSync(out);
  // The user's own, which a restore under --force leaves alone.
  writeFileSync(join(out, "model-00007-of-00009.safetensors"), "mine");
  const killed = await OutputDirectory.open(out, "force", "restore");
  await killed.claim();
  await killed.writeFile("model-00001-of-00003.safetensors", Buffer.from("restored"));
  await killed.abandon(true);
  const before = treeOf(out);
  await assert.rejects(
    convert(source, out, resumed, tool, runSettings(t)),
    /holds an unfinished restore, which convert cannot resume/,
  );
  for (let run = 0; run < 2; run++) {
    const forced: ConvertOptions = { ...fresh, existing: "force" };
    await assert.rejects(convert(source, out, forced, tool, runSettings(t)), /which nestedfp did not write/);
  }
  for (const name of Object.keys(before).filter((path) => !path.startsWith(".nestedfp/")))
    assert.equal(treeOf(out)[name], before[name], name);
});

for (const command of ["restore", "export"] as const) {
  test(`a ${command} records that it works in its directory`, async (t) => {
    const scratch = await scratchDirectory(t);
    const source = writeModel(join(scratch, "source"));
    const [converted, out] = [join(scratch, "converted"), join(scratch, "out")];
    await convert(source, converted, fresh, tool, runSettings(t));
    const found: string[] = [];
    const settings = runSettings(t, { workers: 1 });
    const listener = (event: RunEvent): void => {
      if (event.type === "begin") found.push(readFileSync(join(out, ".nestedfp/command"), "utf8"));
    };
    if (command === "restore") await restore(converted, out, "new", { ...settings, listener });
    else await exportDirectory(converted, "fp16", out, "new", { ...settings, listener });
    assert.ok(found.length > 0 && found.every((name) => name === command), found.join());
  });
}
