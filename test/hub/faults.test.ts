import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { assertOk, assertRefused } from "../cli/run.ts";
import { treeOf } from "../convert/checkpoints.ts";
import { filesOf } from "./contents.ts";
import type { Fault } from "./fault-schedule.ts";
import { startWithModel } from "./published-model.ts";
import { TestHub } from "./test-hub.ts";

const { hub, source, scratch, start, reference, shard, shardSha256, ofShard, inStorage, convert } =
  await startWithModel();

function status(code: number, headers: Record<string, string> = { "retry-after": "0" }): Fault {
  return { kind: "status", status: code, headers };
}

describe("what passes, or can be gone on with, is tried again:", () => {
  const passing: readonly (readonly [name: string, where: RegExp, fault: Fault, times: number])[] = [
    ["rate limit, twice", ofShard, status(429), 2],
    ["rate limit on the listing", /\/tree\//, status(429), 1],
    ["rate limit on the revision", /\/revision\//, status(429), 1],
    ["503 on the storage", inStorage, status(503), 2],
    ["500 without Retry-After", ofShard, status(500, {}), 3],
    ["silence before the answer", ofShard, { kind: "silence" }, 1],
    ["silence in the body", inStorage, { kind: "silence", bytes: 70_000 }, 1],
    ["a body that breaks off, four times", inStorage, { kind: "truncate", bytes: 40_000 }, 4],
    ["a body that breaks off at once, four times", inStorage, { kind: "truncate", bytes: 0 }, 4],
    ["a body of another length", inStorage, { kind: "length", change: -7 }, 1],
    ["a body that is longer", inStorage, { kind: "length", change: 7 }, 1],
    ["a body that does not end", inStorage, { kind: "endless" }, 1],
    ["a damaged body", inStorage, { kind: "corrupt" }, 1],
    ["a damaged small file", /\/resolve\/.*\/tokenizer\.json$/, { kind: "corrupt" }, 1],
  ];
  for (const [name, where, fault, times] of passing) {
    test(name, async () => {
      hub.fail(where, fault, times);
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
  const final: readonly (readonly [name: string, where: RegExp, fault: Fault, sentence: RegExp])[] = [
    ["rate limit", ofShard, status(429), /"org\/model": the Hub limits the rate of requests \(429\)/],
    ["a long pause", ofShard, status(429, { "retry-after": "3600" }), /limits the rate of requests/],
    [
      "an error of the server",
      ofShard,
      status(500, {}),
      /answers with an error: "as the test asked" \(500\)/,
    ],
    ["403", ofShard, status(403), /may not be accessed.* \(403\)/],
    [
      "403 that never comes to its end",
      ofShard,
      { kind: "status", status: 403, unfinished: "drips" },
      /may not be accessed.* \(403\)/,
    ],
    [
      "403 that says only in words that it is gated",
      ofShard,
      status(403, { "x-error-message": "Access to this model is restricted" }),
      /"org\/model" is gated, and no token was given \(403\)/,
    ],
    [
      "a file that is listed and not there",
      ofShard,
      status(404, { "x-error-code": "EntryNotFound" }),
      /has no file "model-00002-of-00003.safetensors" at "[0-9a-f]{40}" \(404 EntryNotFound\)/,
    ],
    [
      "an error code with escapes",
      ofShard,
      status(418, { "x-error-code": "a[31mb" }),
      /\(418 unknown code\)/,
    ],
    ["silence", ofShard, { kind: "silence" }, /cannot be reached after 5 tries: no answer within 0\.3 s/],
    [
      "silence in the body",
      inStorage,
      { kind: "silence", bytes: 0 },
      /broke off at byte 0 of \d+ \(no answer within 0\.3 s\), 5 times without progress/,
    ],
    [
      "a body that always breaks off",
      inStorage,
      { kind: "truncate", bytes: 0 },
      /broke off at byte 0 of \d+ .*, 5 times without progress/,
    ],
    [
      "wrong length",
      inStorage,
      { kind: "length", change: -7 },
      /the server sends "\d+" bytes, the listing says \d+, 5 times/,
    ],
    ["a body that never ends", inStorage, { kind: "endless" }, /more than \d+ bytes came, 5 times/],
    [
      "wrong hash",
      inStorage,
      { kind: "corrupt" },
      /the content has sha256 [0-9a-f]{64}, the Hub lists [0-9a-f]{64}, 5 times/,
    ],
    [
      "a proxy's 407",
      ofShard,
      status(407, {}),
      /cannot be reached after 5 tries: no answer to use; a proxy may/,
    ],
    [
      "a web page for the revision",
      /\/revision\//,
      { kind: "body", text: "<html>" },
      /the Hub's answer cannot be used/,
    ],
    [
      "a revision without a commit",
      /\/revision\//,
      { kind: "body", text: '{"sha":"../../x"}' },
      /answer cannot be used: "commit/,
    ],
    [
      "a listing that is no list",
      /\/tree\//,
      { kind: "body", text: '{"a":1}' },
      /the Hub's answer cannot be used/,
    ],
  ];
  for (const [name, where, fault, sentence] of final) {
    test(name, async () => {
      hub.fail(where, fault);
      const { out, ended, blobs } = await convert({ HF_HUB_DOWNLOAD_TIMEOUT: "0.3" });
      assertRefused(ended, 5, sentence);
      assert.ok(!existsSync(out) && !blobs.includes(shardSha256));
    });
  }

  for (const where of [/\/revision\//, /\/tree\//, new RegExp(`/resolve/.*/${shard}`)]) {
    test(`a redirect to itself, ${where.source}`, async () => {
      // An address of no more than a query is one relative to the request: the same path.
      hub.fail(where, status(302, { location: "?again" }));
      const { ended } = await convert();
      assertRefused(
        ended,
        5,
        /"org\/model": "http:\/\/127\.0\.0\.1:\d+" redirects without end: 20 times, and then/,
      );
    });
  }

  for (const location of ["file:///etc/passwd", "http://[", "http://user:secret@127.0.0.1:1/"]) {
    test(`a redirect to ${location}`, async () => {
      hub.fail(ofShard, status(302, { location }));
      const { ended } = await convert();
      assertRefused(ended, 5, /redirects to what is no address to follow/);
      assert.ok(!ended.stderr.includes("secret"));
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

test("a listing of many pages is read whole", async () => {
  hub.pageSize = 2;
  const { out, ended } = await convert();
  assertOk(ended);
  assert.deepEqual(treeOf(out), treeOf(reference));
});

describe("an answer without an end is an error:", () => {
  test("a body", async () => {
    hub.fail(/\/revision\//, { kind: "endless" });
    const { ended } = await convert();
    assertRefused(ended, 5, /more than 67108864 bytes/);
  });

  test("pages", async () => {
    const next = `<${hub.url}/api/models/org/model/tree/main?cursor=1>; rel="next"`;
    hub.fail(/\/tree\//, { kind: "body", text: "[]", headers: { link: next } });
    const { ended } = await convert();
    assertRefused(ended, 5, /more than 2000 pages/);
  });
});

describe("an interruption ends the wait for", () => {
  const waits: readonly (readonly [name: string, where: RegExp, fault: Fault])[] = [
    ["an answer", /\/revision\//, { kind: "silence" }],
    [
      "the end of a refusal of the revision",
      /\/revision\//,
      { kind: "status", status: 403, unfinished: true },
    ],
    ["the end of a refusal of the listing", /\/tree\//, { kind: "status", status: 403, unfinished: true }],
    ["the end of a refusal of a file", ofShard, { kind: "status", status: 403, unfinished: true }],
    ["the next try after a refusal", /\/tree\//, status(500, {})],
    ["the next try after no answer", /\/revision\//, { kind: "truncate", bytes: 0 }],
    ["the next try after a body that broke off", inStorage, { kind: "truncate", bytes: 1000 }],
    [
      "the next try after a part that broke off",
      /\/resolve\/.*\/model\.safetensors\.index\.json$/,
      { kind: "truncate", bytes: 10 },
    ],
    ["a body", inStorage, { kind: "silence", bytes: 1000 }],
  ];
  // Longer than a run of these tests may take.
  const env = { NESTEDFP_RETRY_MS: "86400", HF_HUB_DOWNLOAD_TIMEOUT: "3600" };
  for (const [i, [name, where, fault]] of waits.entries()) {
    test(name, async () => {
      hub.fail(where, fault);
      const out = join(scratch, `interrupted-${i}`);
      const { child, ended } = start(["convert", "org/model", "-o", out], { cache: `interrupted-${i}`, env });
      while (!hub.requests.some(({ method, url }) => where.test(`${method} ${url}`)))
        await new Promise((done) => setTimeout(done, 5));
      // What was sent arrives; where this is too short, the test passes for less.
      await new Promise((done) => setTimeout(done, 300));
      child.kill("SIGINT");
      assertRefused(await ended, 130, /interrupted by SIGINT/);
      assert.ok(!existsSync(out));
    });
  }
});
