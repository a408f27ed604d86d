import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { treeOf, weights, writeCheckpoint } from "../convert/checkpoints.ts";
import { sharedScratch } from "../convert/scratch.ts";
import { Prng } from "../safetensors/prng.ts";
import { assertOk, assertRefused, nestedfp, root } from "./run.ts";

const scratch = sharedScratch();
after(scratch.remove);

/** Control characters but the line break, and what reverses or splits lines. */
const escapes = /[\p{Cf}\p{Zl}\p{Zp}]|[^\n\P{Cc}]/u;

/** The tiny model with everything in it that somebody might run. */
function hostileModel(): { readonly model: string; readonly marker: string } {
  const model = join(scratch.path, "hostile");
  const marker = join(scratch.path, "marker");
  cpSync(join(root, "fixtures/tiny-llama"), model, { recursive: true });
  const code = `require("fs").writeFileSync(${JSON.stringify(marker)}, "")`;
  const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
  const auto_map = { AutoConfig: "evil.EvilConfig", AutoModelForCausalLM: "evil.Evil" };
  writeFileSync(join(model, "config.json"), JSON.stringify({ ...config, auto_map, trust_remote_code: true }));
  writeFileSync(join(model, "evil.py"), `open(${JSON.stringify(marker)}, "w")\n`);
  const tokenizer = JSON.parse(readFileSync(join(model, "tokenizer_config.json"), "utf8"));
  const chat_template = "{{ ''.__class__.__mro__ }}{{ constructor.constructor('return process')() }}";
  writeFileSync(
    join(model, "tokenizer_config.json"),
    JSON.stringify({ ...tokenizer, chat_template, auto_map }),
  );
  for (const name of ["package.json", "nestedfp.js", ".npmrc", "sitecustomize.py", "index.js"])
    writeFileSync(join(model, name), code);
  mkdirSync(join(model, "node_modules/commander"), { recursive: true });
  writeFileSync(join(model, "node_modules/commander/index.js"), code);
  return { model, marker };
}

test("nothing of a model is executed, by any command, in its own folder", async () => {
  const { model, marker } = hostileModel();
  const executed = join(scratch.path, "executed");
  const preload = `--import=${join(import.meta.dirname, "watch-execution.mjs")}`;
  const [out, back] = [join(scratch.path, "hostile-out"), join(scratch.path, "hostile-back")];
  const text = join(root, "fixtures/text/overlay.txt");
  for (const args of [
    ["inspect", "."],
    ["convert", ".", "-o", out],
    ["verify", out, "--deep", "--against", "."],
    ["eval", ".", "--text", text, "--ctx", "32", "--limit", "1"],
    ["eval", out, "--text", text, "--ctx", "32", "--limit", "1"],
    ["restore", out, "-o", back],
    ["export", out, "--to", "fp16", "-o", join(scratch.path, "hostile-fp16")],
    ["push", out, "me/x", "--dry-run"],
  ]) {
    const env = { NODE_OPTIONS: preload, NESTEDFP_EXECUTED: executed };
    const run = await nestedfp(args, { cwd: model, env });
    assert.equal(run.code, 0, `${args}: ${run.stderr}`);
  }
  assert.ok(!existsSync(marker));
  assert.equal(existsSync(executed) ? readFileSync(executed, "utf8") : "", "");
  assert.equal(treeOf(back)["evil.py"], treeOf(model)["evil.py"], "it is a file like any other");
});

test("what watches for execution sees it", () => {
  const executed = join(scratch.path, "seen");
  const preload = `--import=${join(import.meta.dirname, "watch-execution.mjs")}`;
  const script =
    'new Function("return 1")(); require("node:child_process").spawnSync("true"); require("node:vm").runInThisContext("1")';
  execFileSync(process.execPath, [preload, "-e", script], {
    env: { ...process.env, NESTEDFP_EXECUTED: executed },
  });
  assert.deepEqual(
    readFileSync(executed, "utf8")
      .split("\n")
      .map((line) => line.split(" ")[0])
      .filter((name) => name !== "" && name !== "Script"),
    ["Function", "spawnSync", "runInThisContext"],
  );
});

describe("names from an input", () => {
  const names = [
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "a\u001b[2J\u001b]0;owned\u0007",
    "\u202ereversed",
    "b\u009b31m",
    "model.layers.0.mlp.__proto__.weight",
    "model.layers.0.mlp.down_proj.weight",
  ];

  test("are plain data: converted, restored, and never printed raw", async () => {
    const prng = new Prng(3);
    const tensors = names.map((name) =>
      weights(prng, name, "F16", name.endsWith(".weight") ? [16, 16] : [8]),
    );
    const source = writeCheckpoint(join(scratch.path, "names"), {
      "model-00001-of-00001.safetensors": tensors,
    });
    const index = JSON.stringify({ weight_map: {} }).replace(
      "{}",
      `{${names.map((name) => `${JSON.stringify(name)}:"model-00001-of-00001.safetensors"`).join()}}`,
    );
    writeFileSync(join(source, "model.safetensors.index.json"), index);
    const [out, back] = [join(scratch.path, "names-out"), join(scratch.path, "names-back")];
    for (const args of [
      ["inspect", source],
      ["inspect", source, "--json"],
      ["inspect", source, "-o", join(scratch.path, "names.csv")],
      ["inspect", source, "-o", join(scratch.path, "names.json")],
      ["convert", source, "-o", out, "--progress", "plain"],
      ["convert", source, "--dry-run"],
      ["verify", out, "--deep", "--against", source],
      ["inspect", out],
      ["restore", out, "-o", back],
    ]) {
      const run = await nestedfp(args);
      assertOk(run);
      assert.doesNotMatch(run.stdout + run.stderr, escapes, args.join(" "));
    }
    for (const report of ["names.csv", "names.json"])
      assert.doesNotMatch(
        readFileSync(join(scratch.path, report), "utf8").replaceAll("\r\n", "\n"),
        escapes,
        report,
      );
    const report = JSON.parse(readFileSync(join(scratch.path, "names.json"), "utf8"));
    assert.deepEqual(
      report.result.tensors.map(({ name }: { readonly name: string }) => name).sort(),
      [...names].sort(),
    );
    assert.deepEqual(treeOf(back), treeOf(source));
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  });

  test("of a path on the command line are not printed raw either", async () => {
    const run = await nestedfp(["inspect", "no\u001b[31msuch\u202edirectory"]);
    assertRefused(run, 4, /not found/);
    assert.doesNotMatch(run.stderr, escapes);
  });
});

describe("a manifest that leads elsewhere is refused, and nothing is touched there:", () => {
  const outside = join(scratch.path, "outside.txt");
  const hash = "0".repeat(64);
  const edits: readonly (readonly [name: string, edit: (manifest: Manifest) => void])[] = [
    [
      "a parent folder",
      ({ files }) => files.push({ path: "../outside.txt", role: "verbatim", size: 1, sha256: hash }),
    ],
    [
      "an absolute path",
      ({ files }) => files.push({ path: outside, role: "verbatim", size: 1, sha256: hash }),
    ],
    [
      "a folder of the source's copies",
      ({ files }) =>
        files.push({ path: "nestedfp/source/../../../outside.txt", role: "source", size: 1, sha256: hash }),
    ],
    ["NUL", ({ files }) => files.push({ path: "a\u0000b", role: "verbatim", size: 1, sha256: hash })],
    [
      "an over-long name",
      ({ files }) => files.push({ path: "x".repeat(300), role: "verbatim", size: 1, sha256: hash }),
    ],
    ["a source shard", ({ source }) => Object.assign(source.files[0] ?? {}, { path: "../outside.txt" })],
    ["a plane", ({ source }) => Object.assign(source.files[0] ?? {}, { upper: "../../outside.txt" })],
    ["the index", ({ source }) => Object.assign(source, { index: "../outside.txt" })],
  ];
  type Manifest = { readonly files: object[]; readonly source: { readonly files: object[] } };

  for (const [name, edit] of edits) {
    test(name, async () => {
      const out = join(scratch.path, `manifest-${name.replaceAll(" ", "-")}`);
      assertOk(await nestedfp(["convert", join(root, "fixtures/checkpoints/f16-plain"), "-o", out]));
      writeFileSync(outside, "mine");
      const path = join(out, "nestedfp/manifest.json");
      const manifest = JSON.parse(readFileSync(path, "utf8"));
      edit(manifest);
      writeFileSync(path, JSON.stringify(manifest));
      for (const args of [
        ["restore", out, "-o", `${out}-back`],
        ["export", out, "--to", "fp8-only", "-o", `${out}-fp8`],
        ["push", out, "me/x", "--dry-run"],
      ]) {
        assertRefused(await nestedfp(args), 4, /manifest\.json: .* not /);
      }
      assert.equal((await nestedfp(["verify", out])).code, 1);
      assert.equal(readFileSync(outside, "utf8"), "mine");
      assert.ok(!existsSync(`${out}-back`) && !existsSync(`${out}-fp8`));
    });
  }
});

test("output never goes through a link that lies in its way", async () => {
  const elsewhere = join(scratch.path, "elsewhere");
  mkdirSync(elsewhere);
  const source = join(root, "fixtures/checkpoints/f16-plain");
  for (const link of [".nestedfp", "nestedfp"]) {
    const out = join(scratch.path, `linked-${link}`);
    mkdirSync(out);
    symlinkSync(elsewhere, join(out, link));
    assertRefused(
      await nestedfp(["convert", source, "-o", out, "--force"]),
      2,
      /is a symbolic link, and output is never written through one/,
    );
  }
  // A final name that is a link is replaced, and what it led to stays.
  const out = join(scratch.path, "linked-file");
  mkdirSync(out);
  writeFileSync(join(elsewhere, "config.json"), "mine");
  symlinkSync(join(elsewhere, "config.json"), join(out, "config.json"));
  await nestedfp(["convert", source, "-o", out, "--force"]);
  assert.equal(readFileSync(join(elsewhere, "config.json"), "utf8"), "mine");
});
