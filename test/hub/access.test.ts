import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { assertOk, assertRefused } from "../cli/run.ts";
import { treeOf } from "../convert/checkpoints.ts";
import { startWithModel } from "./published-model.ts";
import { commitOf } from "./test-repo.ts";

const { hub, scratch, run, reference, convert } = await startWithModel();

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

  test("is not asked for by a listing with an address that names a user", async () => {
    const link = `<${hub.url.replace("//", "//user:secret@")}/elsewhere>; rel="next"`;
    hub.fail(/\/tree\//, { kind: "body", text: "[]", headers: { link } });
    const { ended } = await convert({ HF_TOKEN: token });
    assertRefused(
      ended,
      5,
      /"org\/model": "http:\/\/127\.0\.0\.1:\d+" answers with what is no address to ask/,
    );
    assert.ok(!ended.stderr.includes("secret") && !hub.requests.some(({ url }) => url === "/elsewhere"));
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

test("a password or a query of HF_ENDPOINT is never printed", async () => {
  for (const [i, endpoint] of [
    "https://user:secret@hub.example",
    "https://secret@hub.example/x",
    "user:secret@hub.example",
    "ftp://user:secret@hub.example",
    "https://hub.example/?token=secret",
    "https://hub.example/#secret",
  ].entries()) {
    const more = ["--json", "--verbose", "--stream"][i % 3] ?? "";
    const { ended } = await convert({ HF_ENDPOINT: endpoint }, "org/model", more);
    assert.equal(ended.code, 2, ended.stderr);
    assert.match(ended.stderr, /^Error: HF_ENDPOINT holds a user, a query or a fragment, which /);
    assert.ok(!(ended.stdout + ended.stderr).includes("secret"), ended.stderr);
  }
});

test("an HF_ENDPOINT is printed without its escapes, in hints too", async () => {
  hub.fail(/\/revision\//, { kind: "status", status: 403, headers: { "x-error-code": "GatedRepo" } });
  const { ended } = await convert({ HF_ENDPOINT: `${hub.url}/\u001b[31m` });
  assertRefused(ended, 5, /is gated, and no token was given/);
  assert.match(ended.stderr, /ask for access on .*\/\\u001b\[31m\/org\/model/);
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
      const { code, stderr } = await run(["convert", ...args, "-o", out], { cache: "reference", env });
      assert.equal(code, 0, stderr);
      assert.match(stderr, /Warning: "org\/model" may have more files than the cache, of which this run/);
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
