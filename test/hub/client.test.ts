import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { join } from "node:path";
import { after, test } from "node:test";
import { HubClient } from "../../src/hub/client.ts";
import { root } from "../cli/run.ts";
import { filesOf } from "./contents.ts";
import { TestHub } from "./test-hub.ts";

test("requests leave nothing on the signal of their run, however many they are", async () => {
  const hub = await TestHub.start();
  hub.add("org/model", { files: filesOf(join(root, "fixtures/tiny-llama")) });
  const client = new HubClient({
    endpoint: hub.url,
    cache: "",
    token: undefined,
    offline: false,
    timeoutMs: 20_000,
    retry: { tries: 1, delayMs: 1 },
    proxy: { http: "", https: "", no: "" },
    userAgent: "test",
  });
  after(async () => {
    await client.close();
    await hub.stop();
  });
  const { signal } = new AbortController();
  for (let i = 0; i < 5; i++) {
    const url = `${hub.url}/api/models/org/model/tree/main`;
    await (await client.request(url, { subject: { id: "org/model" }, signal })).json();
  }
  assert.equal(getEventListeners(signal, "abort").length, 0);
});
