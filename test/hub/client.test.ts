import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { after, describe, type TestContext, test } from "node:test";
import { HubClient } from "../../src/hub/client.ts";
import { readRange } from "../../src/hub/read-range.ts";
import { openRepository } from "../../src/hub/repository.ts";
import { root } from "../cli/run.ts";
import { filesOf } from "./contents.ts";
import { TestHub } from "./test-hub.ts";

const hub = await TestHub.start();
hub.add("org/model", { files: filesOf(join(root, "fixtures/tiny-llama")) });
const address = `${hub.url}/api/models/org/model/tree/main`;
const subject = { id: "org/model" };
const { signal } = new AbortController();
after(() => hub.stop());

function clientOf(t: TestContext, endpoint = hub.url, timeoutMs = 20_000): HubClient {
  const client = new HubClient({
    endpoint,
    cache: "",
    token: undefined,
    offline: false,
    timeoutMs,
    retry: { tries: 1, delayMs: 1 },
    proxy: { http: "", https: "", no: "" },
    userAgent: "test",
  });
  t.after(() => client.close());
  return client;
}

test("requests leave nothing on the signal of their run, however many they are", async (t) => {
  const client = clientOf(t);
  for (let i = 0; i < 5; i++) await (await client.request(address, { subject, signal })).json();
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

describe("an answer that comes byte by byte, and so in no time-out,", () => {
  // A clock on which every look finds an hour gone.
  const hurry = (t: TestContext): void => {
    let now = 0;
    t.mock.method(performance, "now", () => (now += 3_600_000));
  };

  test("is an error as a listing", async (t) => {
    const request = clientOf(t).fetchFor(subject, signal);
    assert.ok(Array.isArray(await (await request(address)).json()));
    hurry(t);
    await assert.rejects((await request(address)).json(), /an answer of more than 600 s/);
  });

  test("is an error as a part of a file", async (t) => {
    const client = clientOf(t);
    const reference = { type: "model", id: "org/model", revision: "main" } as const;
    const repository = await openRepository(client, reference, signal);
    const file = repository.files.find(({ path }) => path === "config.json");
    assert.ok(file);
    const read = () => readRange(client, repository, file, 0, 100, signal);
    assert.equal((await read()).length, 100);
    hurry(t);
    await assert.rejects(read(), /100 bytes at 0 did not come in 600\.01 s/);
  });

  test("is an error before its headers", async (t) => {
    const server: Server = createServer((socket) => {
      const drip = setInterval(() => socket.write("HTTP/1.1 102 Processing\r\n\r\n"), 5);
      socket.on("error", () => undefined).on("close", () => clearInterval(drip));
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    t.after(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const asked = clientOf(t, url, 50).request(url, { subject, signal });
    await assert.rejects(asked, /cannot be reached after 1 tries: "no whole answer within 0\.3 s"/);
  });
});
