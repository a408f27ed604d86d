import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Manifest } from "../../src/convert/manifest.ts";
import { safetensorsOf, writeCheckpoint, zeros } from "../convert/checkpoints.ts";
import { sharedScratch } from "../convert/scratch.ts";
import type { Run } from "./run.ts";
import { assertOk, nestedfp } from "./run.ts";

const scratch = sharedScratch();
after(scratch.remove);

// Clears the screen, a C1 control sequence, reverses the line, a tag beyond U+FFFF.
const evil = "\u001b[2J\u009b1m\u202eevil\u{e0041}";
const escaped = "\\u001b[2J\\u009b1m\\u202eevil\\udb40\\udc41";

function assertNoEscapes({ stdout, stderr }: Run): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  assert.doesNotMatch(stdout + stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\u{e0041}]/u);
}

describe("names from inputs reach the terminal escaped:", { concurrency: 2 }, () => {
  const folder = join(scratch.path, "source");
  const source = join(folder, `${evil}.safetensors`);
  const converted = join(scratch.path, "converted");
  before(async () => {
    mkdirSync(folder);
    writeFileSync(join(folder, "config.json"), "{}");
    const weight = zeros(`${evil}.mlp.down_proj.weight`, "F16", [16, 16]);
    writeFileSync(source, safetensorsOf([weight, zeros(evil, "U8", [1])]));
    assertOk(await nestedfp(["convert", source, "-o", converted]));
  });

  for (const args of [["inspect"], ["convert", "--dry-run"]]) {
    test(`${args[0]}, its progress and its table`, async () => {
      const run = await nestedfp([args[0] ?? "", source, ...args.slice(1), "--progress", "plain"]);
      assertOk(run);
      assertNoEscapes(run);
      assert.ok(run.stdout.includes(`${escaped}.mlp.down_proj.weight`));
      assert.ok(run.stderr.includes(`${escaped}.safetensors`));
    });
  }

  test("verify and restore", async () => {
    const damaged = join(scratch.path, "damaged");
    assertOk(await nestedfp(["convert", source, "-o", damaged]));
    const path = join(damaged, "nestedfp/manifest.json");
    const manifest: Manifest = JSON.parse(readFileSync(path, "utf8"));
    const omitted = [{ path: evil, reason: evil }];
    writeFileSync(path, JSON.stringify({ ...manifest, source: { ...manifest.source, omitted } }));
    for (const args of [
      ["verify", damaged],
      ["restore", damaged, "-o", join(scratch.path, "back")],
    ]) {
      const run = await nestedfp([...args, "--progress", "plain"]);
      assertNoEscapes(run);
      assert.equal(run.code, args[0] === "verify" ? 1 : 0, run.stderr);
    }
  });

  test("errors", async () => {
    const collision = writeCheckpoint(join(scratch.path, "collision"), {
      "model.safetensors": [
        zeros(`${evil}.mlp.down_proj.weight`, "F16", [16, 16]),
        zeros(`${evil}.mlp.down_proj.weight_scale`, "F16", [1]),
      ],
    });
    const quantised = writeCheckpoint(join(scratch.path, "quantised"), {
      "model.safetensors": [zeros(`${evil}.qweight`, "I32", [1])],
    });
    const out = join(scratch.path, "out");
    for (const args of [
      ["convert", collision, "-o", out],
      ["convert", quantised, "-o", out],
      ["convert", join(scratch.path, evil), "-o", out],
      ["verify", converted, "--against", join(scratch.path, evil)],
    ]) {
      const run = await nestedfp(args);
      assert.equal(run.code, 4, run.stderr);
      assertNoEscapes(run);
      assert.ok(run.stderr.includes("\\u202eevil"), run.stderr);
    }
  });
});

describe("progress", () => {
  const source = writeCheckpoint(join(scratch.path, "plain"), {
    "model.safetensors": [zeros("model.layers.0.mlp.down_proj.weight", "F16", [64, 64])],
  });

  test("plain is a few lines on stderr, and changes nothing on stdout", async () => {
    const plain = await nestedfp(["inspect", source, "--progress", "plain"]);
    assertOk(plain);
    assert.match(
      plain.stderr,
      /^(\d+% \| [\d.]+ KiB of [\d.]+ KiB \| [\d.]+ \w+\/s \| \w+ing model\.safetensors\n){2,4}$/,
    );
    const none = await nestedfp(["inspect", source, "--progress", "none"]);
    assert.deepEqual([none.stdout, none.stderr], [plain.stdout, ""]);
  });

  const noTerminal =
    spawnSync("script", ["--version"]).status !== 0 && "skipped: no script(1) for a terminal";
  for (const env of [{ CI: "1" }, { NO_COLOR: "1", TERM: "dumb" }]) {
    const names = Object.keys(env).join(" and ");
    test(`on a terminal with ${names} moves no cursor and colours nothing`, {
      skip: noTerminal,
    }, async () => {
      const out = join(scratch.path, `terminal-${names}`);
      const inTerminal = 'script -qec "$(printf "\'%s\' " "$@")" /dev/null';
      const run = await nestedfp(["convert", source, "-o", out], {
        env: { CI: "false", ...env },
        shell: inTerminal,
      });
      assert.equal(run.code, 0, run.stdout);
      assert.match(run.stdout, /converted in/);
      assert.ok(!run.stdout.includes("\u001b"), JSON.stringify(run.stdout));
    });
  }

  for (const [env, isColoured] of [
    [{}, true],
    [{ NO_COLOR: "1" }, false],
    [{ NO_COLOR: "" }, true],
  ] as const) {
    const what = "NO_COLOR" in env ? `NO_COLOR="${env.NO_COLOR}"` : "no NO_COLOR";
    test(`the live table of bench has ${isColoured ? "colours" : "none"} with ${what}`, {
      skip: noTerminal,
    }, async () => {
      const run = await nestedfp(
        ["bench", "--device", "cpu", "--shapes", "64,64", "-m", "1", "--timeout", "0.05", "--threads", "1"],
        {
          env: { TERM: "xterm", ...env },
          shell: 'env -u CI script -qec "$(printf "\'%s\' " "$@")" /dev/null',
        },
      );
      assert.equal(run.code, 0, run.stdout);
      const [moves, colours] = ["\\d*[A-HJK]", "[39]\\dm"].map((code) => new RegExp(`\u001b\\[${code}`));
      assert.match(run.stdout, moves ?? /never/);
      assert.equal(colours?.test(run.stdout), isColoured, JSON.stringify(run.stdout.slice(0, 2000)));
    });
  }
});
