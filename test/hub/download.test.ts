import assert from "node:assert/strict";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { assertOk, assertRefused, documentOf } from "../cli/run.ts";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { filesOf, gitBlobId } from "./contents.ts";
import { startHub } from "./hub-run.ts";
import { commitOf } from "./test-repo.ts";

const { hub, scratch, cache, run } = await startHub();
const source = join(scratch, "source");
const commit = commitOf("org/model");
const slashed = ["feature/x", "refs/pr/1"];

before(() => {
  writeModel(source, { width: 64 });
  hub.add("org/model", {
    revisions: ["main", ...slashed],
    files: { ...filesOf(source), "original/params.json": Buffer.from("{}"), "model.gguf": Buffer.alloc(9) },
  });
});

describe("convert org/name", () => {
  test("gives what a conversion of the same files gives, but for what the manifest says of the repository", async () => {
    const [local, remote] = [join(scratch, "local"), join(scratch, "remote")];
    assertOk(await run(["convert", source, "-o", local]));
    const converted = await run(["convert", "org/model", "-o", remote, "--json"], { cache: "plain" });
    assertOk(converted);
    const { omitted } = documentOf<{ omitted: { path: string }[] }>(converted).result;
    assert.deepEqual(
      omitted.map(({ path }) => path),
      ["model.gguf", "original"],
    );
    const [a, b] = [treeOf(local), treeOf(remote)];
    const different = Object.keys({ ...a, ...b }).filter((path) => a[path] !== b[path]);
    assert.deepEqual(different, ["nestedfp/SHA256SUMS", "nestedfp/manifest.json"]);
    const manifest = JSON.parse(readFileSync(join(remote, "nestedfp/manifest.json"), "utf8"));
    assert.deepEqual([manifest.source.repo, manifest.source.revision], ["org/model", commit]);
    assertOk(await run(["verify", "--deep", remote, "--against", source]));
  });

  test("leaves the cache as the Python tools have it", () => {
    const root = join(cache("plain"), "models--org--model");
    assert.equal(readFileSync(join(root, "refs/main"), "utf8"), commit);
    const snapshot = join(root, "snapshots", commit);
    assert.deepEqual(readdirSync(snapshot).sort(), Object.keys(filesOf(source)).sort());
    for (const [name, bytes] of Object.entries(filesOf(source))) {
      assert.ok(lstatSync(join(snapshot, name)).isSymbolicLink());
      assert.match(readlinkSync(join(snapshot, name)), /^\.\.\/\.\.\/blobs\/[0-9a-f]+$/);
      assert.deepEqual(readFileSync(join(snapshot, name)), bytes);
    }
    assert.ok(
      readdirSync(join(root, "blobs")).includes(gitBlobId(readFileSync(join(source, "config.json")))),
    );
    assert.ok(!readdirSync(join(root, "blobs")).some((name) => name.endsWith(".incomplete")));
    assert.ok(
      readdirSync(join(cache("plain"), ".locks/models--org--model")).every((name) => name.endsWith(".lock")),
    );
  });
});

test("an output that is not to be written to is refused before any weights are asked for", async () => {
  const out = join(scratch, "taken");
  mkdirSync(out);
  writeFileSync(join(out, "mine"), "");
  for (const more of [[], ["--stream"]]) {
    hub.reset();
    const ended = await run(["convert", "org/model", "-o", out, ...more], { cache: "taken" });
    assertRefused(ended, 2, /exists and is not empty/);
    assert.ok(hub.requests.every(({ storage, range }) => !storage || range !== undefined));
    assert.ok(!existsSync(cache("taken")));
  }
});

describe("a revision with a slash", () => {
  for (const revision of slashed) {
    test(`${revision} is one part of an address, and a path below refs/ of the cache, as for the Python tools`, async () => {
      const name = revision.replaceAll("/", "-");
      const args = ["convert", `org/model@${revision}`, "-o"];
      assertOk(await run([...args, join(scratch, name)], { cache: name }));
      const asked = hub.requests
        .map(({ url }) => url.replace(/\?.*/, ""))
        .filter((url) => url.includes("/revision/"));
      assert.deepEqual(asked, [`/api/models/org/model/revision/${encodeURIComponent(revision)}`]);
      const root = join(cache(name), "models--org--model");
      assert.equal(readFileSync(join(root, "refs", revision), "utf8"), commit);
      assert.deepEqual(readdirSync(join(root, "snapshots")), [commit]);
      hub.reset();
      const offline = [...args, join(scratch, `${name}-offline`), "--offline"];
      assert.equal((await run(offline, { cache: name })).code, 0);
      assert.deepEqual(hub.requests, []);
      // Offline, nobody knows what the repository has beside: the manifest is another.
      const shardsOf = (folder: string) =>
        Object.entries(treeOf(join(scratch, folder))).filter(([path]) => path.endsWith(".safetensors"));
      assert.deepEqual(shardsOf(`${name}-offline`), shardsOf(name));
    });
  }

  test("takes the place of one that it goes through in the cache, and the other way round", async () => {
    hub.add("org/renamed", { files: filesOf(source), revisions: ["main", "a", "a/b", "a/b/c"] });
    for (const revision of ["a", "a/b/c", "a/b", "a"]) {
      const out = join(scratch, `renamed-${revision.length}`);
      const args = ["convert", `org/renamed@${revision}`, "--force", "-o", out];
      assertOk(await run(args, { cache: "renamed" }));
      const refs = join(cache("renamed"), "models--org--renamed/refs");
      assert.equal(readFileSync(join(refs, revision), "utf8"), commitOf("org/renamed"));
    }
  });
});
