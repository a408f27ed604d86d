import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { NetworkError } from "../../src/errors.ts";
import { withCheckedBatch } from "../../src/hub/lfs-batch.ts";

const address = "http://hub.example/org/name.git/info/lfs/objects/batch";
const asked = [
  { oid: "aa", size: 10 },
  { oid: "bb", size: 25 },
];

function ask(answer: unknown, url = address): Promise<Response> {
  const hub = async (): Promise<Response> => new Response(JSON.stringify(answer), { headers: { x: "y" } });
  const init = { method: "POST", body: JSON.stringify({ objects: asked }) };
  return withCheckedBatch(hub, "org/name")(url, init);
}

const there = { oid: "aa", size: 10 };
const upload = (header: object, href: unknown = "http://s.example/x"): object => ({
  objects: [there, { oid: "bb", actions: { upload: { href, header } } }],
});
const parts = (...numbers: string[]): object =>
  Object.fromEntries([
    ["chunk_size", "10"],
    ...numbers.map((number) => [number, `http://s.example/${number}`]),
  ]);

describe("the answer to a batch request", () => {
  for (const [name, answer] of [
    ["an upload", upload({})],
    ["no headers at all", { objects: [there, { oid: "bb", actions: { upload: { href: "http://s/" } } }] }],
    ["an upload in parts", upload(parts("00001", "00002", "00003"))],
    ["nothing to upload", { objects: [there, { oid: "bb", error: null, actions: null }] }],
  ] as const) {
    test(`of ${name} passes as it is`, async () => {
      const response = await ask(answer);
      assert.deepEqual(await response.json(), answer);
      assert.equal(response.headers.get("x"), "y");
    });
  }

  for (const [name, answer, sentence] of [
    ["null", null, /no list of objects/],
    ["no list", { objects: {} }, /no list of objects/],
    ["an object of nobody", { objects: [there, { oid: "cc" }] }, /object "cc", which nobody asked for/],
    ["an object that is null", { objects: [null] }, /object "undefined"/],
    ["too few objects", { objects: [there, there] }, /1 of 2 objects/],
    ["no address", upload({}, 5), /an upload to no address/],
    ["too few parts", upload(parts("1", "2")), /2 parts of "10" bytes for a file of 25/],
    ["a part that is left out", upload(parts("1", "2", "4")), /3 parts of "10" bytes/],
    ["parts of no bytes", upload({ ...parts("1"), chunk_size: "0" }), /1 parts of "0" bytes/],
    ["a part to no address", upload({ ...parts("1", "2", "3"), 2: "x" }), /an upload to no address/],
  ] as const) {
    test(`of ${name} is refused`, () => assert.rejects(ask(answer), sentence));
  }

  test("that does not take an object says why", () =>
    assert.rejects(
      ask({ objects: [there, { oid: "bb", error: { code: 403, message: "quota\u001b[31m" } }] }),
      (error) =>
        error instanceof NetworkError && /sha256 bb: "quota\\u001b\[31m" \("403"\)/.test(error.message),
    ));

  test("and no other is looked at", async () => {
    assert.equal(await (await ask(null, "http://hub.example/api")).json(), null);
  });
});
