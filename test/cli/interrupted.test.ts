import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { sharedScratch } from "../convert/scratch.ts";
import { Prng } from "../safetensors/prng.ts";
import type { Started } from "./run.ts";
import { assertOk, assertRefused, nestedfp, start } from "./run.ts";

/** How many runs the loops kill; `NESTEDFP_KILLS=500 npm test` for a longer one. */
const kills = Number(process.env.NESTEDFP_KILLS ?? 18);

const scratch = sharedScratch();
const source = join(scratch.path, "source");
const reference = join(scratch.path, "reference");
let expected: Readonly<Record<string, string>>;
let seconds: { readonly convert: number; readonly restore: number };

after(scratch.remove);
before(async () => {
  writeModel(source, { width: 512, layers: 9 });
  const convert = await timed(["convert", source, "-o", reference]);
  seconds = { convert, restore: await timed(["restore", reference, "-o", join(scratch.path, "back")]) };
  expected = treeOf(reference);
  assert.deepEqual(treeOf(join(scratch.path, "back")), treeOf(source));
});

/** Seconds that a run takes that nobody interrupts. */
async function timed(args: readonly string[]): Promise<number> {
  const started = performance.now();
  assertOk(await nestedfp(args));
  return (performance.now() - started) / 1000;
}

/** Kills a run at a random moment of its usual duration. @returns whether it was still going on */
async function killAtRandom({ child, ended }: Started, prng: Prng, duration: number): Promise<boolean> {
  const timer = setTimeout(() => child.kill("SIGKILL"), (prng.below(1000) / 1000) * duration * 1000);
  const { signal, code, stderr } = await ended;
  clearTimeout(timer);
  assert.ok(signal === "SIGKILL" || code === 0, stderr);
  return signal === "SIGKILL";
}

/** What stands under final names is what the undisturbed run wrote; unfinished files are in .nestedfp only. */
function assertOnlyWholeFiles(directory: string, whole: Readonly<Record<string, string>>): void {
  if (!existsSync(directory)) return;
  for (const [path, hash] of Object.entries(treeOf(directory))) {
    if (path.startsWith(".nestedfp/") || path.endsWith("/")) continue;
    assert.equal(hash, whole[path], `${path} is not what it should be`);
  }
}

describe("a conversion that is killed", () => {
  test(`at ${kills} random moments, each time resumed, gives the same directory`, async (t) => {
    const prng = new Prng(20_250_602);
    let landed = 0;
    let finished = 0;
    for (let kill = 0; kill < kills; kill++) {
      const out = join(scratch.path, `killed-${finished}`);
      const run = start(["convert", source, "-o", out, "--resume", "--threads", String(1 + (kill % 3))]);
      if (await killAtRandom(run, prng, seconds.convert)) landed++;
      assertOnlyWholeFiles(out, expected);
      // Now and then to the end, so that kills hit every stage of a run and not only the last.
      if (existsSync(join(out, "config.json")) || kill % 6 === 5) {
        assertOk(await nestedfp(["convert", source, "-o", out, "--resume"]));
        assert.deepEqual(treeOf(out), expected);
        rmSync(out, { recursive: true });
        finished++;
      }
    }
    t.diagnostic(`${landed} of ${kills} kills landed, ${finished} conversions were finished`);
    assert.ok(landed >= kills / 3, `only ${landed} of ${kills} kills hit a run`);
    const out = join(scratch.path, `killed-${finished}`);
    assertOk(await nestedfp(["convert", source, "-o", out, "--resume"]));
    assert.deepEqual(treeOf(out), expected);
  });

  test("needs --resume or --force to go on, and lets no other source in", async () => {
    const out = join(scratch.path, "unfinished");
    const run = start(["convert", source, "-o", out, "--progress", "plain"]);
    await run.line(/^25% /);
    run.child.kill("SIGKILL");
    assert.equal((await run.ended).signal, "SIGKILL");
    assertRefused(await nestedfp(["convert", source, "-o", out]), 2, /holds an unfinished run/);
    const other = await nestedfp(["convert", source, "-o", out, "--resume", "--no-row-shift"]);
    assertRefused(other, 2, /was made with option rowShift true, and this run has false/);
    const otherSource = writeModel(join(scratch.path, "other"), { width: 16 });
    const foreign = await nestedfp(["convert", otherSource, "-o", out, "--resume"]);
    assertRefused(foreign, 2, /was made with the source files/);
    assertRefused(await nestedfp(["verify", out]), 4, /is not a nestedfp directory/);
    assertOk(await nestedfp(["convert", source, "-o", out, "--force"]));
    assert.deepEqual(treeOf(out), expected);
  });
});

describe("a conversion that is asked to stop", () => {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    test(`by ${signal} ends with ${code}, keeps what it has, and goes on with --resume`, async () => {
      const out = join(scratch.path, signal);
      const run = start(["convert", source, "-o", out, "--json", "--progress", "plain"]);
      await run.line(/^25% /);
      run.child.kill(signal);
      const ended = await run.ended;
      assertRefused(ended, code, new RegExp(`^Error: interrupted by ${signal}$`));
      assert.match(ended.stderr, /Hint: a conversion goes on with --resume\n$/);
      const kept = readdirSync(join(out, ".nestedfp"));
      assert.ok(kept.includes("run.json") && !kept.some((name) => name.endsWith(".tmp")), `${kept}`);
      assertOnlyWholeFiles(out, expected);
      const inspected = await nestedfp(["inspect", out]);
      assertRefused(inspected, 4, /is not a nestedfp directory/);
      assert.match(inspected.stderr, /Hint: its conversion is not finished: run `nestedfp convert` again/);
      assertOk(await nestedfp(["convert", source, "-o", out, "--resume"]));
      assert.deepEqual(treeOf(out), expected);
    });
  }

  test("what cannot be resumed does not promise it", async () => {
    const run = start(["verify", reference, "--deep", "--progress", "plain"]);
    await run.line(/^25% /);
    run.child.kill("SIGINT");
    const ended = await run.ended;
    assertRefused(ended, 130, /^Error: interrupted by SIGINT$/);
    assert.doesNotMatch(ended.stderr, /Hint/);
  });
});

describe("--resume", () => {
  test("of an absent, an empty and a finished directory", async () => {
    const out = join(scratch.path, "resumed");
    assertOk(await nestedfp(["convert", source, "-o", out, "--resume"]));
    assert.deepEqual(treeOf(out), expected);
    const written = statSync(join(out, "config.json")).mtimeMs;
    assertOk(await nestedfp(["convert", source, "-o", out, "--resume"]));
    assert.deepEqual(treeOf(out), expected);
    assert.equal(statSync(join(out, "config.json")).mtimeMs, written, "nothing is written again");

    const small = writeModel(join(scratch.path, "small-source"), { width: 16 });
    const empty = join(scratch.path, "empty");
    mkdirSync(empty);
    assertOk(await nestedfp(["convert", small, "-o", empty, "--resume"]));
    assertOk(await nestedfp(["verify", "--deep", empty]));
  });

  test("of a finished directory of other options or another source is refused with 2", async () => {
    const other = writeModel(join(scratch.path, "other-source"), { width: 16 });
    const options = await nestedfp(["convert", source, "-o", reference, "--resume", "--no-row-shift"]);
    assertRefused(options, 2, /decided as null, and this run has "range"/);
    const foreign = await nestedfp(["convert", other, "-o", reference, "--resume"]);
    assertRefused(foreign, 2, /was made from another source/);
    assert.deepEqual(treeOf(reference), expected);
  });

  test("of a finished directory that is damaged says so with 1", async () => {
    const out = join(scratch.path, "damaged");
    cpSync(reference, out, { recursive: true });
    rmSync(join(out, "nestedfp/lower-00002-of-00003.nfp"));
    const run = await nestedfp(["convert", source, "-o", out, "--resume"]);
    assertRefused(run, 1, /was finished, but "nestedfp\/lower-00002-of-00003\.nfp": is missing/);
  });
});

test("a second run into the same directory is refused with 2 while the first goes on", async () => {
  const out = join(scratch.path, "shared");
  const first = start(["convert", source, "-o", out, "--progress", "plain"]);
  await first.line(/^25% /);
  first.child.kill("SIGSTOP");
  try {
    for (const more of [[], ["--resume"], ["--force"]]) {
      const second = await nestedfp(["convert", source, "-o", out, ...more]);
      assertRefused(second, 2, /is being written by another run of nestedfp/);
    }
  } finally {
    first.child.kill("SIGCONT");
  }
  assert.equal((await first.ended).code, 0);
  assert.deepEqual(treeOf(out), expected);
});

test("a restore that is killed leaves only whole files, and --force does it again", async () => {
  const prng = new Prng(7);
  const original = treeOf(source);
  const out = join(scratch.path, "restored");
  for (let kill = 0; kill < kills / 3; kill++) {
    await killAtRandom(start(["restore", reference, "-o", out, "--force"]), prng, seconds.restore);
    assertOnlyWholeFiles(out, original);
  }
  assertOk(await nestedfp(["restore", reference, "-o", out, "--force"]));
  assert.deepEqual(treeOf(out), original);
});
