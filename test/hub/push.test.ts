import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { before, describe, test } from "node:test";
import { assertOk, assertRefused, documentOf, root } from "../cli/run.ts";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { filesOf, sha256 } from "./contents.ts";
import { startHub } from "./hub-run.ts";
import { commitOf, lfsBytes } from "./test-repo.ts";

const { hub, scratch, run, start } = await startHub();
const converted = join(scratch, "converted");
const env = { HF_TOKEN: "hf_good" };

before(async () => {
  const source = writeModel(join(scratch, "source"), { width: 64 });
  writeFileSync(
    join(source, "README.md"),
    '---\nlicense: llama3.1\nlicense_link: https://x.example/l\nlicense_name: a\u001bb\nlicense_name: "x\ntags: [x]\n---\n# A model\n',
  );
  writeFileSync(join(source, ".gitattributes"), "*.safetensors filter=lfs diff=lfs merge=lfs -text\n");
  hub.add("base/model", { files: filesOf(source) });
  assertOk(await run(["convert", "base/model", "-o", converted]));
});

type Pushed = {
  readonly commit: string | null;
  readonly card: string;
  readonly pullRequest: string | null;
  readonly files: { readonly path: string }[];
};

describe("push", () => {
  test("publishes the files of the manifest as one commit, which gives the source back", async () => {
    const ended = await run(["push", converted, "me/nested", "--private", "--json"], { env });
    assertOk(ended);
    assert.equal(documentOf<Pushed>(ended).result.commit, "c".repeat(40));
    assert.deepEqual(hub.created.at(-1), { repo: "me/nested", private: true });
    const { files, branch, pullRequest, header } = hub.commits.at(-1) ?? assert.fail();
    assert.deepEqual([branch, pullRequest], ["main", false]);
    assert.match(header.summary, /^NestedFP checkpoint \(nestedfp \d/);
    const fetched = join(scratch, "fetched");
    for (const [path, bytes] of Object.entries(files)) {
      mkdirSync(dirname(join(fetched, path)), { recursive: true });
      writeFileSync(join(fetched, path), bytes);
    }
    assertOk(await run(["verify", "--deep", fetched, "--against", join(scratch, "source")]));
    const { "README.md": card, ...published } = treeOf(fetched);
    const { "README.md": _, ...local } = treeOf(converted);
    assert.deepEqual(published, local);
    assert.ok(card);
    assert.ok(
      hub.requests.filter(({ storage }) => storage).every(({ authorization }) => authorization === undefined),
    );
  });

  test("refuses a manifest whose source is no repository: it would write the card", async () => {
    const odd = join(scratch, "odd-source");
    cpSync(converted, odd, { recursive: true });
    const path = join(odd, "nestedfp/manifest.json");
    const text = readFileSync(path, "utf8");
    const evil = JSON.stringify("a/b\nlicense: evil\n---\n# x \u001b[2J");
    const changed = text.replace('"base/model"', evil);
    assert.notEqual(changed, text);
    writeFileSync(path, changed);
    const sums = join(odd, "nestedfp/SHA256SUMS");
    const hash = (bytes: string) => createHash("sha256").update(bytes).digest("hex");
    writeFileSync(sums, readFileSync(sums, "utf8").replace(hash(text), hash(changed)));
    const ended = await run(["push", odd, "me/odd", "--dry-run"], { env });
    assertRefused(ended, 4, /names the source "a\/b\\nlicense/);
    assert.ok(!`${ended.stdout}${ended.stderr}`.includes("\u001b"));
  });

  test("makes a card that names its base, its licence and how to load and restore it", async () => {
    const report = join(scratch, "eval.json");
    const tiny = join(scratch, "tiny-nested");
    assertOk(await run(["convert", join(root, "fixtures/tiny-llama"), "-o", tiny]));
    const text = join(root, "fixtures/text/overlay.txt");
    assertOk(await run(["eval", tiny, "--text", text, "--ctx", "64", "--limit", "1", "-o", report]));
    const ended = await run(["push", converted, "me/nested", "--dry-run", "--json", "--eval-report", report]);
    assertOk(ended);
    const { card, commit } = documentOf<Pushed>(ended).result;
    assert.equal(commit, null);
    assert.match(
      card,
      /^---\nbase_model: base\/model\nbase_model_relation: quantized\nlicense: llama3\.1\nlicense_link: https:\/\/x\.example\/l\nlibrary_name/,
    );
    assert.ok(card.includes(commitOf("base/model")) && !card.includes("\u001b"));
    for (const part of [
      /coverage|of the words that could be/,
      /hf download me\/nested --exclude/,
      /nestedfp restore nested/,
      /every source file byte for byte/,
      /\| nested-fp8 \| +\d+\.\d{4} \|/,
      /Method plain, ctx 64, 1 windows/,
    ]) {
      assert.match(card, part);
    }
    assert.deepEqual(hub.requests, []);
    assertRefused(
      await run(["push", converted, "me/x", "--dry-run", "--eval-report", join(converted, "config.json")]),
      4,
      /is no report of eval/,
    );
  });

  test("of an FP8-only export leaves the lower files and what needs them out", async () => {
    const fp8 = join(scratch, "fp8");
    assertOk(await run(["export", converted, "--to", "fp8-only", "-o", fp8]));
    const { card, files } = documentOf<Pushed>(
      await run(["push", fp8, "me/fp8", "--dry-run", "--json"]),
    ).result;
    assert.ok(!files.some(({ path }) => path.endsWith(".nfp")) && !card.includes("Restore the"));
  });

  test("--create-pr opens a pull request and makes no repository", async () => {
    hub.add("their/nested", { files: {} });
    const made = hub.created.length;
    const ended = await run(["push", converted, "their/nested", "--create-pr", "--json", "-m", "A title"], {
      env,
    });
    assertOk(ended);
    assert.match(documentOf<Pushed>(ended).result.pullRequest ?? "", /\/discussions\/1$/);
    const { pullRequest, header } = hub.commits.at(-1) ?? assert.fail();
    assert.deepEqual([pullRequest, header.summary, hub.created.length], [true, "A title", made]);
  });

  test("again into a repository that exists uploads no content twice", async () => {
    assertOk(await run(["push", converted, "me/nested"], { env }));
    assert.ok(!hub.requests.some(({ method, storage }) => storage && method === "PUT"));
  });

  test("without a token, offline, or of what does not pass verify, sends nothing", async () => {
    assertRefused(await run(["push", converted, "me/new"]), 5, /"me\/new" cannot be written without a token/);
    assertRefused(await run(["push", converted, "me/new", "--offline"], { env }), 5, /this run is offline/);
    const damaged = join(scratch, "damaged");
    cpSync(converted, damaged, { recursive: true });
    const shard = join(damaged, "nestedfp/lower-00001-of-00003.nfp");
    const bytes = readFileSync(shard);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(shard, bytes);
    assertRefused(
      await run(["push", damaged, "me/new"], { env }),
      1,
      /does not pass verify: "nestedfp\/lower-00001-of-00003\.nfp"/,
    );
    assertRefused(
      await run(["push", join(scratch, "source"), "me/new"], { env }),
      4,
      /is not a nestedfp directory/,
    );
    assertRefused(await run(["push", converted, "not a repo"], { env }), 2, /"not a repo" is no repository/);
    assert.deepEqual(hub.requests, []);
  });

  for (const [name, match, status, sentence] of [
    ["may not create", /repos\/create/, 403, /"me\/refused" may not be accessed.* \(403\)/],
    ["may not upload", /preupload/, 403, /may not be accessed/],
    ["breaks at the batch", /info\/lfs/, 500, /answers with an error/],
    ["breaks at the upload", /^PUT/, 500, /answers with an error/],
    ["breaks at the commit", /\/commit\//, 500, /answers with an error/],
  ] as const) {
    test(`to a Hub that ${name} gives 5`, async () => {
      const fresh = writeModel(join(scratch, `fresh-${status}-${match.source.length}`), {
        seed: match.source.length,
        width: 32,
      });
      const out = `${fresh}-out`;
      assertOk(await run(["convert", fresh, "-o", out]));
      hub.fail(match, { kind: "status", status });
      assertRefused(await run(["push", out, "me/refused"], { env }), 5, sentence);
      assert.ok(!hub.commits.some(({ repo }) => repo === "me/refused"));
      if (status === 500 && match.source.includes("commit")) {
        assert.equal(
          hub.requests.filter(({ url }) => url.includes("/commit/")).length,
          1,
          "a commit is not sent twice",
        );
      }
    });
  }

  for (const [name, match, text, sentence] of [
    ["answers the batch with another's object", /info\/lfs/, '{"objects":[{"oid":"x"}]}', /object \\"x\\"/],
    ["answers the commit with none", /\/commit\//, "{}", /the Hub's answer cannot be used: "no commit"/],
    [
      "answers the commit with a list for its address",
      /\/commit\//,
      '{"commitOid":"c","commitUrl":[]}',
      /the Hub's answer cannot be used: "no commit"/,
    ],
  ] as const) {
    test(`to a Hub that ${name} gives 5`, async () => {
      hub.fail(match, { kind: "body", text });
      assertRefused(await run(["push", converted, "me/odd"], { env }), 5, sentence);
    });
  }

  test("whose uploads all fail at once gives 5 and one sentence", async () => {
    const fresh = writeModel(join(scratch, "failing"), { seed: 41, width: 32 });
    assertOk(await run(["convert", fresh, "-o", `${fresh}-out`]));
    hub.fail(/^PUT/, { kind: "status", status: 302, headers: { location: "file:///etc/passwd" } });
    assertRefused(
      await run(["push", `${fresh}-out`, "me/failing"], { env }),
      5,
      /redirects to what is no address to follow/,
    );
  });

  test("to a Hub that names no address of the web for every upload gives 5 and one sentence", async () => {
    const dry = documentOf<Pushed>(await run(["push", converted, "me/odd", "--dry-run", "--json"])).result;
    const contents = { ...filesOf(converted), "README.md": Buffer.from(dry.card) };
    const objects = Object.values(contents)
      .filter(({ length }) => length >= lfsBytes)
      .map((bytes) => ({ oid: sha256(bytes), actions: { upload: { href: "file:///etc/passwd" } } }));
    assert.ok(objects.length > 5);
    hub.fail(/info\/lfs/, { kind: "body", text: JSON.stringify({ objects }) });
    assertRefused(
      await run(["push", converted, "me/odd"], { env }),
      5,
      /answers with what is no address to ask/,
    );
  });

  test("of a file that vanishes after it was verified gives 4", async () => {
    const vanishing = join(scratch, "vanishing");
    cpSync(converted, vanishing, { recursive: true });
    hub.fail(/repos\/create/, { kind: "status", status: 429, headers: { "retry-after": "1" } }, 1);
    const { ended } = start(["push", vanishing, "me/vanishing"], { env });
    while (hub.requests.length === 0) await new Promise((done) => setTimeout(done, 5));
    rmSync(join(vanishing, "tokenizer.json"));
    assertRefused(await ended, 4, /tokenizer\.json" cannot be read: no such file or directory \(ENOENT\)/);
  });

  test("passes a rate limit and an upload that fails once", async () => {
    const fresh = writeModel(join(scratch, "fresh"), { seed: 99, width: 32 });
    assertOk(await run(["convert", fresh, "-o", `${fresh}-out`]));
    hub.fail(/\/commit\//, { kind: "status", status: 429, headers: { "retry-after": "0" } }, 1);
    hub.fail(/^PUT/, { kind: "status", status: 503, headers: { "retry-after": "0" } }, 1);
    assertOk(await run(["push", `${fresh}-out`, "me/limited"], { env }));
    assert.equal(hub.commits.filter(({ repo }) => repo === "me/limited").length, 1);
  });

  test("does not publish what a link that no hash covers leads to", async () => {
    const linked = join(scratch, "linked");
    cpSync(converted, linked, { recursive: true });
    const secret = join(scratch, "secret");
    writeFileSync(secret, "secret");
    for (const name of [".gitattributes", "README.md"]) {
      rmSync(join(linked, name));
      symlinkSync(secret, join(linked, name));
    }
    assertOk(await run(["push", linked, "me/linked"], { env }));
    const { files } = hub.commits.at(-1) ?? assert.fail();
    for (const bytes of Object.values(files)) assert.ok(!Buffer.from(bytes).includes("secret"));
  });

  for (const [name, linked] of [
    ["SHA256SUMS", "nestedfp/SHA256SUMS"],
    ["the manifest", "nestedfp/manifest.json"],
    ["a listed file", "config.json"],
    ["the folder of the planes", "nestedfp"],
  ] as const) {
    test(`sends nothing when ${name} is a link`, async () => {
      const at = join(scratch, `linked-${name.replaceAll(" ", "-")}`);
      cpSync(converted, at, { recursive: true });
      renameSync(join(at, linked), `${at}-elsewhere`);
      symlinkSync(`${at}-elsewhere`, join(at, linked));
      for (const more of [[], ["--dry-run"]]) {
        const ended = await run(["push", at, "me/linked-file", ...more], { env });
        assertRefused(ended, 4, /is a symbolic link, and push sends nothing through one/);
      }
      assert.deepEqual(hub.requests, []);
    });
  }

  test("to a branch with a slash in its name", async () => {
    assertOk(await run(["push", converted, "me/branched", "--revision", "feature/x"], { env }));
    assert.equal(hub.commits.at(-1)?.branch, "feature/x");
    const steps = hub.requests.map(({ url }) => url).filter((url) => /preupload|commit/.test(url));
    assert.ok(steps.length >= 2 && steps.every((url) => /\/feature%2Fx(\?|$)/.test(url)), `${steps}`);
  });

  test("that is interrupted gives 130", async () => {
    const fresh = writeModel(join(scratch, "slow"), { seed: 5, width: 32 });
    assertOk(await run(["convert", fresh, "-o", `${fresh}-out`]));
    hub.fail(/^PUT/, { kind: "silence" });
    const { child, ended } = start(["push", `${fresh}-out`, "me/slow"], { env });
    while (!hub.requests.some(({ method }) => method === "PUT"))
      await new Promise((done) => setTimeout(done, 5));
    child.kill("SIGINT");
    assertRefused(await ended, 130, /interrupted by SIGINT/);
    assert.ok(existsSync(`${fresh}-out/config.json`));
  });
});
