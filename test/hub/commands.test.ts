import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { before, describe, test } from "node:test";
import { assertOk, assertRefused, documentOf, root } from "../cli/run.ts";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { parquetOf } from "../eval/parquet.ts";
import { filesOf } from "./contents.ts";
import { startHub } from "./hub-run.ts";
import { commitOf, listingOf } from "./test-repo.ts";

const { hub, scratch, cache, run } = await startHub();
const source = join(scratch, "source");
const converted = join(scratch, "converted");
const tiny = join(root, "fixtures/tiny-llama");
const text = join(root, "fixtures/text/overlay.txt");

before(async () => {
  writeModel(source, { width: 128 });
  hub.add("org/model", { files: filesOf(source) });
  assertOk(await run(["convert", tiny, "-o", converted]));
  const beside = { "pytorch_model.bin": Buffer.alloc(9), "training/log.txt": Buffer.alloc(9) };
  hub.add("org/tiny", { files: { ...filesOf(tiny), ...beside } });
  hub.add("org/tiny-nested", { files: filesOf(converted) });
});

type Inspected = {
  readonly source: string;
  readonly headers_only: boolean;
  readonly converted: boolean;
  readonly tensors: readonly {
    readonly name: string;
    readonly action: string;
    readonly max_abs: number | null;
  }[];
};

describe("inspect org/name", () => {
  test("reads headers only, by ranges, and keeps nothing", async () => {
    const remote = await run(["inspect", "org/model", "--json"], { cache: "inspect" });
    assertOk(remote);
    const { result } = documentOf<Inspected>(remote);
    assert.deepEqual([result.source, result.headers_only], [`org/model@${commitOf("org/model")}`, true]);
    const local = documentOf<Inspected>(await run(["inspect", source, "--json"])).result;
    assert.deepEqual(
      result.tensors.map(({ name }) => name).sort(),
      local.tensors.map(({ name }) => name).sort(),
    );
    const ranges = hub.requests.filter(({ url }) => url.includes("/resolve/")).map(({ range }) => range);
    assert.ok(
      ranges.length >= 4 && ranges.every((range) => /^bytes=0-\d{1,6}$/.test(range ?? "")),
      `${ranges}`,
    );
    assert.ok(!existsSync(cache("inspect")));
    const report = await run(["inspect", "hf://org/model@main"]);
    assert.match(
      report.stdout,
      /a source checkpoint, as convert would decide, by its headers, before it has seen the weights/,
    );
  });

  test("of a converted repository reads its manifest", async () => {
    const remote = await run(["inspect", "org/tiny-nested", "--json"]);
    assertOk(remote);
    const { result } = documentOf<Inspected>(remote);
    assert.deepEqual([result.converted, result.headers_only], [true, true]);
    const local = documentOf<Inspected>(await run(["inspect", converted, "--json"])).result;
    const decisions = ({ tensors }: Inspected) =>
      tensors.map(({ name, action, max_abs }) => [name, action, max_abs]);
    assert.deepEqual(decisions(result), decisions(local));
  });

  test("of a header longer than a first guess asks for the rest", async () => {
    const names = Array.from({ length: 3000 }, (_, i) => [
      `${"x".repeat(60)}.${i}`,
      { dtype: "U8", shape: [0], data_offsets: [0, 0] },
    ]);
    const json = Buffer.from(JSON.stringify(Object.fromEntries(names)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    hub.add("org/long", { files: { "model.safetensors": Buffer.concat([length, json]) } });
    const { result } = documentOf<Inspected>(await run(["inspect", "org/long", "--json"]));
    assert.equal(result.tensors.length, 3000);
    const [, rest] = hub.requests.filter(({ url }) => url.includes("/resolve/")).map(({ range }) => range);
    assert.equal(rest, `bytes=131072-${json.length + 7}`);
  });

  test("of a server without ranges gives 5", async () => {
    hub.fail(/^GET \/[0-9a-f]{64}/, { kind: "ignore-range" });
    assertRefused(await run(["inspect", "org/model"]), 5, /the server does not serve parts of it/);
    hub.reset();
    hub.fail(/^GET \/[0-9a-f]{64}/, { kind: "other-range" });
    assertRefused(await run(["inspect", "org/model"]), 5, /the server sends "bytes 1-/);
  });

  test("of a body that breaks off asks again", async () => {
    hub.fail(/^GET \/[0-9a-f]{64}/, { kind: "truncate", bytes: 10 }, 3);
    assertOk(await run(["inspect", "org/model"]));
    hub.fail(/^GET \/[0-9a-f]{64}/, { kind: "truncate", bytes: 10 });
    assertRefused(await run(["inspect", "org/model"]), 5, /org\/model": file ".*": /);
  });

  test("of a body that is too short or too long asks again", async () => {
    for (const change of [-7, 7]) {
      hub.reset();
      hub.fail(/^GET \/[0-9a-f]{64}/, { kind: "length", change }, 2);
      assertOk(await run(["inspect", "org/model"]));
      hub.fail(/^GET \/[0-9a-f]{64}/, { kind: "length", change });
      assertRefused(await run(["inspect", "org/model"]), 5, /not \d+ bytes at 0 came, 5 times/);
    }
  });

  test("of a small file that is not what the Hub lists asks again, and then gives 5", async () => {
    for (const [id, path] of [
      ["org/model", "model.safetensors.index.json"],
      ["org/tiny-nested", "nestedfp/manifest.json"],
    ] as const) {
      const where = new RegExp(`/resolve/.*/${path}$`);
      hub.fail(where, { kind: "corrupt" }, 3);
      assertOk(await run(["inspect", id]));
      hub.fail(where, { kind: "corrupt" });
      assertRefused(
        await run(["inspect", id]),
        5,
        /the content is not that of the (git-blob|sha256) [0-9a-f]+ that/,
      );
      hub.reset();
    }
  });

  test("of what is no safetensors file gives 4", async () => {
    hub.add("org/damaged", { files: { "model.safetensors": Buffer.alloc(9000, 255) } });
    assertRefused(
      await run(["inspect", "org/damaged"]),
      4,
      /header length 18446744073709551615 exceeds the limit/,
    );
    hub.add("org/nothing", { files: { "model.gguf": Buffer.alloc(9) } });
    assertRefused(await run(["inspect", "org/nothing"]), 4, /"org\/nothing" holds no safetensors/);
  });

  test("--offline reads the cache, weights included", async () => {
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "for-cache")], { cache: "filled" }));
    hub.reset();
    const offline = await run(["inspect", "org/model", "--offline", "--json"], { cache: "filled" });
    assert.equal(documentOf<Inspected>(offline).result.headers_only, false);
    assert.deepEqual(hub.requests, []);
  });
});

describe("convert --dry-run org/name", () => {
  test("reads headers only, and says what lies where on the disk", async () => {
    const dry = await run(["convert", "org/model", "--dry-run", "--json"], { cache: "dry" });
    assertOk(dry);
    type Dry = {
      readonly decided_by: string;
      readonly peak_disk: { readonly cache: number; readonly source: number };
    };
    const { decided_by, peak_disk } = documentOf<Dry>(dry).result;
    const size = Object.values(filesOf(source)).reduce((sum, { length }) => sum + length, 0);
    assert.deepEqual([decided_by, peak_disk.cache, peak_disk.source], ["headers", size, 0]);
    assert.ok(!existsSync(cache("dry")));
  });

  test("refuses with 4 what a conversion would", async () => {
    const { "config.json": config = new Uint8Array(0), ...others } = filesOf(source);
    hub.add("org/without-config", { files: others });
    hub.add("org/odd-config", { files: { ...others, "config.json": Buffer.from("[]") } });
    hub.add("org/own-name", { files: { ...others, "config.json": config, nestedfp: config } });
    const listing = listingOf({ ...others, "config.json": config }).map((entry) =>
      "path" in entry && entry.path === "config.json" ? { ...entry, size: 2 ** 25 } : entry,
    );
    hub.add("org/large-config", { files: { ...others, "config.json": config }, listing });
    for (const [repo, sentence] of [
      ["org/tiny-nested", /is already quantised with nestedfp/],
      ["org/without-config", /has no config\.json beside its weights/],
      ["org/odd-config", /is not a JSON object/],
      ["org/own-name", /has a file "nestedfp", a name that the output needs for itself/],
      ["org/large-config", /"config\.json" has 33554432 bytes, more than the limit of 16777216/],
    ] as const) {
      for (const way of [[], ["--stream"]])
        assertRefused(await run(["convert", repo, "--dry-run", ...way], { cache: "dry" }), 4, sentence);
    }
    assert.ok(!existsSync(cache("dry")));
  });
});

describe("eval org/name", () => {
  const args = ["--text", text, "--ctx", "64", "--limit", "1", "--json"];
  type Evaluated = { readonly precisions: readonly { readonly ppl: number }[] };

  for (const [name, folder] of [
    ["org/tiny", tiny],
    ["org/tiny-nested", converted],
  ] as const) {
    test(`${name} gives the numbers of the same files, and fetches what it needs`, async () => {
      const remote = await run(["eval", name, ...args], { cache: "eval" });
      assertOk(remote);
      const local = await run(["eval", folder, ...args]);
      assert.equal(documentOf(remote).environment.model, `${name}@${commitOf(name)}`);
      assert.deepEqual(
        documentOf<Evaluated>(remote).result.precisions,
        documentOf<Evaluated>(local).result.precisions,
      );
      const snapshot = join(cache("eval"), `models--${name.replace("/", "--")}`, "snapshots", commitOf(name));
      const fetched = namesBelow(snapshot).sort();
      const needed = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
      if (name === "org/tiny") assert.deepEqual(fetched, needed);
      else assert.ok(fetched.includes("nestedfp/lower-00001-of-00001.nfp") && !fetched.includes("README.md"));
      hub.reset();
      assertOk(await run(["eval", name, "--offline", ...args], { cache: "eval" }));
      assert.deepEqual(hub.requests, []);
    });
  }

  test("--dataset wikitext2 is fetched once, at one commit, and joined as the method asks", async () => {
    const rows = ["", " = Title = \n", "", " The first line of a text that is short , as it is a test . \n"];
    const commit = "b08601e04326c79dfdd32d625aee71d232d685c3";
    const path = "wikitext-2-raw-v1/test-00000-of-00001.parquet";
    hub.add("Salesforce/wikitext", { type: "dataset", commit, files: { [path]: parquetOf("text", rows) } });
    type Scored = { readonly textSha256?: string; readonly task?: unknown };
    for (const [method, joined] of [
      ["plain", ` \n${rows[1]} \n${rows[3]}`],
      ["hf", rows.join("\n\n")],
    ] as const) {
      const file = join(scratch, `${method}.txt`);
      writeFileSync(file, joined);
      const common = ["--method", method, "--ctx", "16", "--json"];
      const byName = await run(["eval", tiny, "--dataset", "wikitext2", ...common], { cache: "wikitext" });
      assertOk(byName);
      const byFile = documentOf<Scored>(await run(["eval", tiny, "--text", file, ...common]));
      assert.deepEqual(documentOf<Scored>(byName).result, byFile.result);
      if (method === "hf") assert.deepEqual(hub.requests, []);
      hub.reset();
    }
    const folder = join(cache("wikitext"), "datasets--Salesforce--wikitext");
    assert.deepEqual(readdirSync(join(folder, "snapshots")), [commit]);
    assertRefused(await run(["eval", tiny, "--dataset", "none"]), 2, /--dataset is "none", not wikitext2/);
    const offline = await run(["eval", tiny, "--dataset", "wikitext2", "--offline"], {
      cache: "no-wikitext",
    });
    assertRefused(offline, 5, /is not in the cache/);
  });
});

/** Paths of the links below a folder. */
function namesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

describe("what is named", () => {
  test("a local path wins over a repository of the same name", async () => {
    const cwd = join(scratch, "cwd");
    mkdirSync(join(cwd, "org"), { recursive: true });
    writeModel(join(cwd, "org/model"), { width: 16 });
    assertOk(await run(["inspect", "org/model"], { cwd }));
    assert.deepEqual(hub.requests, []);
  });

  test("--revision and @rev must agree, and --stream needs a repository", async () => {
    const both = await run(["inspect", "org/model@v1", "--revision", "v2"]);
    assertRefused(both, 2, /"org\/model@v1" asks for revision "v1", and --revision for "v2"/);
    assertRefused(await run(["inspect", "hf://a/b/c"]), 2, /names no repository/);
    assertRefused(await run(["inspect", "org/model@../../x"]), 2, /"\.\.\/\.\.\/x" is no revision/);
    const path = await run(["convert", source, "-o", join(scratch, "x"), "--stream"]);
    assertRefused(path, 2, /--stream is for repositories of the Hub/);
    const env = { HF_ENDPOINT: "ftp://x" };
    assertRefused(await run(["inspect", "org/model"], { env }), 2, /HF_ENDPOINT is "ftp:\/\/x"/);
  });
});

test("what a library prints with console does not reach stdout", async () => {
  const preload = join(scratch, "noisy.mjs");
  // Where a library might: in the middle of the work.
  const noise = `
    import fs from "node:fs/promises";
    import { syncBuiltinESMExports } from "node:module";
    const { rename } = fs;
    fs.rename = (...args) => {
      for (const name of ["debug", "log", "info"]) console[name]("noise");
      return rename(...args);
    };
    syncBuiltinESMExports();`;
  writeFileSync(preload, noise);
  const env = { NODE_OPTIONS: `--import=${preload}` };
  const noisy = await run(["convert", "org/model", "-o", join(scratch, "noisy"), "--json"], { env });
  assert.match(noisy.stderr, /noise/);
  assert.doesNotMatch(noisy.stdout, /noise/);
  assert.equal(documentOf<{ split: number }>(noisy).schema, "nestedfp.convert/1");
  assert.deepEqual(Object.keys(treeOf(join(scratch, "noisy"))).includes("config.json"), true);
});

test("an error of a library that nobody can catch gives 70 and one sentence, escapes escaped", async () => {
  const preload = join(scratch, "rejecting.mjs");
  const rejection = `
    import fs from "node:fs/promises";
    import { syncBuiltinESMExports } from "node:module";
    const { rename } = fs;
    fs.rename = (...args) => {
      Promise.reject(new Error("lost\\u001b[31m"));
      return rename(...args);
    };
    syncBuiltinESMExports();`;
  writeFileSync(preload, rejection);
  const env = { NODE_OPTIONS: `--import=${preload}` };
  const args = ["convert", "org/model", "-o", join(scratch, "rejecting"), "--verbose"];
  const ended = await run(args, { env });
  assert.equal(ended.code, 70);
  assert.match(ended.stderr, /Error: internal error: lost\\u001b\[31m\n/);
  assert.ok(!ended.stderr.includes("\u001b"));
});
