import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { assertOk, assertRefused, root } from "../cli/run.ts";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { startHub } from "./hub-run.ts";
import type { Fault } from "./test-hub.ts";
import { commitOf, filesOf, gitBlobId, TestHub } from "./test-hub.ts";

const { hub, scratch, cache, run, start } = await startHub();
const source = join(scratch, "source");
const reference = join(scratch, "reference");
const shard = "model-00002-of-00003.safetensors";
let content: Uint8Array;
let shardSha256: string;
/** Requests for the second shard, at the Hub and where it redirects to. */
let ofShard: RegExp;
let inStorage: RegExp;

before(async () => {
  writeModel(source, { width: 256 });
  hub.add("org/model", { files: filesOf(source) });
  hub.add("org/private", { files: filesOf(source), tokens: ["hf_good"] });
  hub.add("org/gated", { files: filesOf(source), tokens: ["hf_good"], gated: true });
  content = readFileSync(join(source, shard));
  shardSha256 = createHash("sha256").update(content).digest("hex");
  ofShard = new RegExp(`/resolve/.*/${shard}$`);
  inStorage = new RegExp(`^GET /${shardSha256}`);
  assertOk(await run(["convert", "org/model", "-o", reference], { cache: "reference" }));
});

/** Whatever happened, what has the name of a content is that content. @returns the names */
function assertSound(name: string, id = "org--model"): string[] {
  const folder = join(cache(name), `models--${id}`, "blobs");
  const names = existsSync(folder) ? readdirSync(folder) : [];
  for (const blob of names.filter((entry) => !entry.endsWith(".incomplete"))) {
    const bytes = readFileSync(join(folder, blob));
    const hash = blob.length === 40 ? gitBlobId(bytes) : createHash("sha256").update(bytes).digest("hex");
    assert.equal(hash, blob);
  }
  return names;
}

let cases = 0;
/** Runs convert with an empty cache and an output of its own. */
async function convert(env: Record<string, string> = {}, ...args: string[]) {
  const name = `case-${++cases}`;
  const out = join(scratch, name);
  const source = args[0]?.startsWith("-") === false ? (args.shift() as string) : "org/model";
  const ended = await run(["convert", source, "-o", out, ...args], { cache: name, env });
  const blobs = assertSound(name, source.replace(/@.*/, "").replace("/", "--"));
  return { name, out, ended, blobs };
}

function status(code: number, headers: Record<string, string> = { "retry-after": "0" }): Fault {
  return { kind: "status", status: code, headers };
}

describe("what passes, or can be gone on with, is tried again:", () => {
  const passing: readonly (readonly [name: string, where: () => RegExp, fault: Fault, times: number])[] = [
    ["rate limit, twice", () => ofShard, status(429), 2],
    ["rate limit on the listing", () => /\/tree\//, status(429), 1],
    ["rate limit on the revision", () => /\/revision\//, status(429), 1],
    ["503 on the storage", () => inStorage, status(503), 2],
    ["500 without Retry-After", () => ofShard, status(500, {}), 3],
    ["silence before the answer", () => ofShard, { kind: "silence" }, 1],
    ["silence in the body", () => inStorage, { kind: "silence", bytes: 70_000 }, 1],
    ["a body that breaks off, four times", () => inStorage, { kind: "truncate", bytes: 40_000 }, 4],
    ["a body that breaks off at once, four times", () => inStorage, { kind: "truncate", bytes: 0 }, 4],
    ["a body of another length", () => inStorage, { kind: "length", change: -7 }, 1],
    ["a body that is longer", () => inStorage, { kind: "length", change: 7 }, 1],
    ["a body that does not end", () => inStorage, { kind: "endless" }, 1],
    ["a damaged body", () => inStorage, { kind: "corrupt" }, 1],
    ["a damaged small file", () => /\/resolve\/.*\/tokenizer\.json$/, { kind: "corrupt" }, 1],
  ];
  for (const [name, where, fault, times] of passing) {
    test(name, async () => {
      hub.fail(where(), fault, times);
      const { out, ended, blobs } = await convert({ HF_HUB_DOWNLOAD_TIMEOUT: "0.7" });
      assertOk(ended);
      assert.deepEqual(treeOf(out), treeOf(reference));
      assert.ok(!blobs.some((blob) => blob.endsWith(".incomplete")));
    });
  }

  // Silence and not a broken connection, of which nobody can say how much came through.
  const slow = { HF_HUB_DOWNLOAD_TIMEOUT: "0.7" };

  test("a body that ends early goes on where it ended", async () => {
    hub.fail(inStorage, { kind: "silence", bytes: 65_536 }, 2);
    assertOk((await convert(slow)).ended);
    const ranges = hub.requests.filter(({ url }) => inStorage.test(`GET ${url}`)).map(({ range }) => range);
    assert.deepEqual(ranges, [undefined, "bytes=65536-", "bytes=131072-"]);
  });

  for (const [kind, asked] of [
    ["ignore-range", [undefined, "bytes=65536-"]],
    ["other-range", [undefined, "bytes=65536-", undefined]],
  ] as const) {
    test(`a server that answers a range with ${kind === "ignore-range" ? "everything" : "another one"}`, async () => {
      hub.fail(inStorage, { kind: "silence", bytes: 65_536 }, 1);
      hub.fail(inStorage, { kind }, 1);
      const { out, ended } = await convert(slow);
      assertOk(ended);
      assert.deepEqual(treeOf(out), treeOf(reference));
      const ranges = hub.requests.filter(({ url }) => inStorage.test(`GET ${url}`)).map(({ range }) => range);
      assert.deepEqual(ranges, asked);
    });
  }
});

describe("what does not pass gives 5, one sentence, and nothing wrong in the cache:", () => {
  const final: readonly (readonly [name: string, where: () => RegExp, fault: Fault, sentence: RegExp])[] = [
    ["rate limit", () => ofShard, status(429), /"org\/model": the Hub limits the rate of requests \(429\)/],
    ["a long pause", () => ofShard, status(429, { "retry-after": "3600" }), /limits the rate of requests/],
    [
      "an error of the server",
      () => ofShard,
      status(500, {}),
      /answers with an error: "as the test asked" \(500\)/,
    ],
    ["403", () => ofShard, status(403), /may not be accessed.* \(403\)/],
    [
      "a file that is listed and not there",
      () => ofShard,
      status(404, { "x-error-code": "EntryNotFound" }),
      /has no file "model-00002-of-00003.safetensors" at "[0-9a-f]{40}" \(404 EntryNotFound\)/,
    ],
    [
      "an error code with escapes",
      () => ofShard,
      status(418, { "x-error-code": "a[31mb" }),
      /\(418 unknown code\)/,
    ],
    [
      "silence",
      () => ofShard,
      { kind: "silence" },
      /cannot be reached after 5 tries: no answer within 0\.3 s/,
    ],
    [
      "silence in the body",
      () => inStorage,
      { kind: "silence", bytes: 0 },
      /broke off at byte 0 of \d+ \(no answer within 0\.3 s\), 5 times without progress/,
    ],
    [
      "a body that always breaks off",
      () => inStorage,
      { kind: "truncate", bytes: 0 },
      /broke off at byte 0 of \d+ .*, 5 times without progress/,
    ],
    [
      "wrong length",
      () => inStorage,
      { kind: "length", change: -7 },
      /the server sends "\d+" bytes, the listing says \d+, 5 times/,
    ],
    ["a body that never ends", () => inStorage, { kind: "endless" }, /more than \d+ bytes came, 5 times/],
    [
      "wrong hash",
      () => inStorage,
      { kind: "corrupt" },
      /the content has sha256 [0-9a-f]{64}, the Hub lists [0-9a-f]{64}, 5 times/,
    ],
    [
      "a web page for the revision",
      () => /\/revision\//,
      { kind: "body", text: "<html>" },
      /the Hub's answer cannot be used/,
    ],
    [
      "a revision without a commit",
      () => /\/revision\//,
      { kind: "body", text: '{"sha":"../../x"}' },
      /answer cannot be used: "commit/,
    ],
    [
      "a listing that is no list",
      () => /\/tree\//,
      { kind: "body", text: '{"a":1}' },
      /the Hub's answer cannot be used/,
    ],
  ];
  for (const [name, where, fault, sentence] of final) {
    test(name, async () => {
      hub.fail(where(), fault);
      const { out, ended, blobs } = await convert({ HF_HUB_DOWNLOAD_TIMEOUT: "0.3" });
      assertRefused(ended, 5, sentence);
      assert.ok(!existsSync(out) && !blobs.includes(shardSha256));
    });
  }

  test("nobody answers at all", async () => {
    const gone = await TestHub.start();
    const { url } = gone;
    await gone.stop();
    const { ended } = await convert({ HF_ENDPOINT: url });
    assertRefused(ended, 5, /"http:\/\/127\.0\.0\.1:\d+" cannot be reached after 5 tries: .*ECONNREFUSED/);
  });

  test("an unknown repository, with and without a token", async () => {
    assertRefused(
      (await convert({}, "org/none")).ended,
      5,
      /"org\/none" does not exist, or is private and needs a token \(401/,
    );
    assertRefused(
      (await convert({ HF_TOKEN: "hf_x" }, "org/none")).ended,
      5,
      /"org\/none" does not exist \(404 RepoNotFound\)/,
    );
  });

  test("an unknown revision", async () => {
    const { ended } = await convert({}, "org/model@v9");
    assertRefused(ended, 5, /"org\/model" has no revision "v9" \(404 RevisionNotFound\)/);
  });

  test("an index that names a shard the repository lacks", async () => {
    const { [shard]: _, ...files } = filesOf(source);
    hub.add("org/lacking", { files });
    assertRefused((await convert({}, "org/lacking")).ended, 5, /"org\/lacking" has no file "model-00002/);
  });

  test("private and gated, by token", async () => {
    assertRefused((await convert({}, "org/private")).ended, 5, /needs a token \(401 RepoNotFound\)/);
    assertRefused((await convert({ HF_TOKEN: "hf_bad" }, "org/private")).ended, 5, /does not exist \(404/);
    assertRefused(
      (await convert({}, "org/gated")).ended,
      5,
      /"org\/gated" is gated, and no token was given \(401 GatedRepo\)/,
    );
    assertRefused(
      (await convert({ HF_TOKEN: "hf_bad" }, "org/gated")).ended,
      5,
      /is gated, and this token has no access to it \(403 GatedRepo\)/,
    );
    assertOk((await convert({ HF_TOKEN: "hf_good" }, "org/gated")).ended);
  });
});

describe("a listing that is not to be trusted gives 4 and writes nothing:", () => {
  const paths = [
    "../evil.json",
    "/etc/evil.json",
    "..\\evil.json",
    "C:evil.json",
    "a\u0000b.json",
    "nul.json",
    "x".repeat(300),
    "evil\u001b[31m.json",
    "tail. ",
  ];
  for (const [i, path] of paths.entries()) {
    test(JSON.stringify(path.slice(0, 20)), async () => {
      const files = filesOf(source);
      const listing = Object.entries(files).map(([name, bytes]) => ({
        type: "file",
        path: name === "tokenizer.json" ? path : name,
        size: bytes.length,
        oid: gitBlobId(bytes),
        ...(bytes.length > 2048 && {
          lfs: { oid: createHash("sha256").update(bytes).digest("hex"), size: bytes.length, pointerSize: 1 },
        }),
      }));
      hub.add(`org/evil-${i}`, { files, listing });
      const { ended, out, name } = await convert({}, `org/evil-${i}`);
      if (path.includes("/")) {
        // Below a folder, of which nothing is fetched.
        assertOk(ended);
        assert.ok(!existsSync(join(out, "evil.json")) && !existsSync(join(scratch, "evil.json")));
      } else {
        assertRefused(ended, 4, /lists a file ".*": a part of its path /);
        assert.ok(!existsSync(out));
      }
      assert.ok(!existsSync(join(cache(name), "evil.json")));
    });
  }

  test("an id that is a path", async () => {
    const listing = [{ type: "file", path: "model.safetensors", size: 8, oid: "../../../evil" }];
    hub.add("org/evil-id", { files: {}, listing });
    assertRefused((await convert({}, "org/evil-id")).ended, 5, /with id \\"\.\.\/\.\.\/\.\.\/evil\\"/);
  });
});

describe("the token", () => {
  const token = "hf_good";

  test("goes to the Hub only, not to where it redirects", async () => {
    assertOk((await convert({ HF_TOKEN: token }, "org/private")).ended);
    const [hubRequests, storage] = [false, true].map((at) =>
      hub.requests.filter((request) => request.storage === at),
    );
    assert.ok(
      hubRequests?.length && hubRequests.every(({ authorization }) => authorization === `Bearer ${token}`),
    );
    assert.ok(storage?.length && storage.every(({ authorization }) => authorization === undefined));
  });

  test("does not follow a listing to another origin", async () => {
    const link = `<${hub.storageUrl}/elsewhere>; rel="next"`;
    hub.fail(/\/tree\//, { kind: "body", text: "[]", headers: { link } });
    assertRefused((await convert({ HF_TOKEN: token })).ended, 5, /the Hub's answer cannot be used/);
    const [asked] = hub.requests.filter(({ url }) => url === "/elsewhere");
    assert.equal(asked?.authorization, undefined);
    assert.ok(asked);
  });

  test("is taken from --token, then HF_TOKEN, then the stored one", async () => {
    const home = join(scratch, "token-home");
    mkdirSync(home);
    writeFileSync(join(home, "token"), `${token}\n`);
    const env = { HF_HOME: home };
    assertOk((await convert(env, "org/private")).ended);
    assertRefused((await convert({ ...env, HF_TOKEN: "hf_bad" }, "org/private")).ended, 5, /404/);
    assertOk((await convert({ ...env, HF_TOKEN: "hf_bad" }, "org/private", "--token", token)).ended);
    assertRefused(
      (await convert({ ...env, HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }, "org/private")).ended,
      5,
      /401/,
    );
  });

  test("is never printed", async () => {
    for (const given of [["--token", token], [`--token=${token}`]]) {
      const good = await convert({}, "org/private", "--json", "--verbose", ...given);
      assertOk(good.ended);
      assert.match(good.ended.stdout, /"(--token=)?\*\*\*"/);
      const bad = await convert({}, "org/none", "--verbose", ...given);
      for (const { stdout, stderr } of [good.ended, bad.ended]) assert.ok(!(stdout + stderr).includes(token));
    }
    const odd = await convert({ HF_TOKEN: "hf_a\u001b[31m b" });
    assertRefused(odd.ended, 2, /^Error: the Hub token holds a character that no token has$/);
  });
});

describe("--offline", () => {
  test("converts what the cache holds, by branch or commit, and asks nobody", async () => {
    for (const [i, args] of [
      ["org/model", "--offline"],
      [`org/model@${commitOf("org/model")}`, "--offline"],
      ["hf://org/model"],
    ].entries()) {
      const out = join(scratch, `offline-${i}`);
      const env: Record<string, string> = i === 2 ? { HF_HUB_OFFLINE: "1" } : {};
      assertOk(await run(["convert", ...args, "-o", out], { cache: "reference", env }));
      assert.deepEqual(treeOf(out), treeOf(reference));
    }
    assert.deepEqual(hub.requests, []);
  });

  test("without it in the cache gives 5", async () => {
    const { ended } = await convert({}, "org/model", "--offline");
    assertRefused(ended, 5, /"org\/model" at "main" is not in the cache ".*", and this run is offline/);
    const stream = await convert({ HF_HUB_OFFLINE: "1" }, "org/model", "--stream");
    assertRefused(stream.ended, 5, /cannot be asked for: this run is offline/);
    assert.deepEqual(hub.requests, []);
  });
});

describe("the cache", () => {
  test("that is complete needs no content again", async () => {
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "again")], { cache: "reference" }));
    assert.deepEqual(
      hub.requests.filter(({ storage, range }) => storage && range === undefined),
      [],
    );
  });

  test("of a run that was killed is gone on with", async () => {
    const args = ["convert", "org/model", "-o", join(scratch, "killed")];
    hub.fail(inStorage, { kind: "silence", bytes: 100_000 }, 1);
    const first = start(args, { cache: "killed" });
    const partial = join(cache("killed"), "models--org--model/blobs", `${shardSha256}.incomplete`);
    while (!existsSync(partial) || readFileSync(partial).length < 100_000)
      await new Promise((done) => setTimeout(done, 5));
    first.child.kill("SIGKILL");
    await first.ended;
    hub.requests.length = 0;
    assertOk(await run(args, { cache: "killed" }));
    assert.ok(
      hub.requests.some(({ url, range }) => inStorage.test(`GET ${url}`) && range === "bytes=100000-"),
    );
    assert.deepEqual(treeOf(join(scratch, "killed")), treeOf(reference));
    assertSound("killed");
  });

  test("of a run that is interrupted keeps what came, and gives 130", async () => {
    hub.fail(inStorage, { kind: "silence", bytes: 100_000 }, 1);
    const first = start(["convert", "org/model", "-o", join(scratch, "interrupted")], {
      cache: "interrupted",
    });
    const partial = join(cache("interrupted"), "models--org--model/blobs", `${shardSha256}.incomplete`);
    while (!existsSync(partial) || readFileSync(partial).length < 100_000)
      await new Promise((done) => setTimeout(done, 5));
    first.child.kill("SIGINT");
    assertRefused(await first.ended, 130, /interrupted by SIGINT/);
    assert.equal(readFileSync(partial).length, 100_000);
    assert.ok(!existsSync(join(scratch, "interrupted")));
  });

  test("with a beginning that is another's starts again", async () => {
    const folder = join(cache("foreign"), "models--org--model/blobs");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${shardSha256}.incomplete`), Buffer.alloc(5000, 1));
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "foreign")], { cache: "foreign" }));
    assertSound("foreign");
  });

  test("with a whole content under the name of a beginning asks for none of it", async () => {
    const folder = join(cache("whole"), "models--org--model/blobs");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${shardSha256}.incomplete`), content);
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "whole")], { cache: "whole" }));
    assert.ok(!hub.requests.some(({ url }) => inStorage.test(`GET ${url}`)));
  });

  test("of several runs at once fetches each content once", async () => {
    // The first is held up with the lock in its hand.
    hub.fail(inStorage, { kind: "silence", bytes: 65_536 }, 1);
    const options = { cache: "twins", env: { HF_HUB_DOWNLOAD_TIMEOUT: "1.5" } };
    const convertTo = (i: number) => run(["convert", "org/model", "-o", join(scratch, `twin-${i}`)], options);
    const first = convertTo(0);
    while (!hub.requests.some(({ url }) => inStorage.test(`GET ${url}`)))
      await new Promise((done) => setTimeout(done, 5));
    for (const ended of await Promise.all([first, convertTo(1), convertTo(2)])) assertOk(ended);
    const ranges = hub.requests.filter(({ url }) => inStorage.test(`GET ${url}`)).map(({ range }) => range);
    assert.deepEqual(ranges, [undefined, "bytes=65536-"]);
    assertSound("twins");
  });

  test("that was damaged after its files were checked is noticed", async () => {
    assertOk(await run(["convert", "org/model", "-o", join(scratch, "before-damage")], { cache: "damaged" }));
    const blob = join(cache("damaged"), "models--org--model/blobs", shardSha256);
    const bytes = readFileSync(blob);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(blob, bytes);
    const ended = await run(["convert", "org/model", "-o", join(scratch, "damaged")], { cache: "damaged" });
    assertRefused(ended, 4, /in the cache has sha256 [0-9a-f]{64}, the Hub lists/);
  });

  test("is never written through a link", async () => {
    const outside = join(scratch, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "file"), "mine");
    for (const folder of ["blobs", "snapshots", "refs"]) {
      const root = join(cache("linked"), "models--org--model");
      rmSync(root, { recursive: true, force: true });
      mkdirSync(root, { recursive: true });
      symlinkSync(outside, join(root, folder));
      const ended = await run(["convert", "org/model", "-o", join(scratch, "linked")], { cache: "linked" });
      assertRefused(ended, 3, /is no folder, and the cache is never written through a link/);
    }
    const blobs = join(cache("linked-file"), "models--org--model/blobs");
    mkdirSync(blobs, { recursive: true });
    symlinkSync(join(outside, "file"), join(blobs, `${shardSha256}.incomplete`));
    const ended = await run(["convert", "org/model", "-o", join(scratch, "linked")], {
      cache: "linked-file",
    });
    assertRefused(ended, 3, /cannot be written: too many symbolic links/);
    assert.equal(readFileSync(join(outside, "file"), "utf8"), "mine");
    assert.deepEqual(readdirSync(outside), ["file"]);
  });

  for (const [call, number, code] of [
    ["write", 1, "EIO"],
    ["write", 9, "ENOSPC"],
    ["sync", 2, "EIO"],
    ["rename", 3, "EACCES"],
    ["open", 4, "EIO"],
  ] as const) {
    test(`that cannot be written (${call} ${number}, ${code}) gives 3 and is gone on with`, async () => {
      const name = `failing-${call}-${number}`;
      const args = ["convert", "org/model", "-o", join(scratch, name)];
      const preload = `--import=${join(root, "test/cli/fail-calls.mjs")}`;
      const env = { NODE_OPTIONS: preload, NESTEDFP_FAIL: `${call}:${number}:${code}` };
      assertRefused(
        await run(args, { cache: name, env }),
        3,
        new RegExp(`cannot be written: .*\\(${code}\\)`),
      );
      assert.ok(!existsSync(join(scratch, name)));
      assertSound(name);
      assertOk(await run(args, { cache: name }));
      assert.deepEqual(treeOf(join(scratch, name)), treeOf(reference));
    });
  }

  test("on a disk that takes no more gives 3", { skip: process.platform === "win32" }, async () => {
    const ended = await run(["convert", "org/model", "-o", join(scratch, "full")], {
      cache: "full",
      shell: 'ulimit -f 64; exec "$@"',
    });
    assertRefused(ended, 3, /cannot be written: file too large \(EFBIG\)/);
    assertSound("full");
  });
});

test("a listing of many pages is read whole", async () => {
  hub.pageSize = 2;
  const { out, ended } = await convert();
  assertOk(ended);
  assert.deepEqual(treeOf(out), treeOf(reference));
});
