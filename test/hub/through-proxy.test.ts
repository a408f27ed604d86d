import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertOk, assertRefused, root } from "../cli/run.ts";
import { filesOf } from "./contents.ts";
import { startHub } from "./hub-run.ts";

const { hub, run } = await startHub();
hub.add("org/model", { files: filesOf(join(root, "fixtures/tiny-llama")) });

describe("a proxy", () => {
  let proxy: Server;
  const tunnels: string[] = [];
  before(async () => {
    proxy = createServer((_, response) => response.writeHead(502).end());
    proxy.on("connect", (request, socket) => {
      tunnels.push(request.url ?? "");
      const [host, port] = (request.url ?? "").split(":");
      const upstream = connect(Number(port), host, () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
      upstream.pipe(socket).pipe(upstream);
      for (const end of [upstream, socket]) end.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  });
  after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const address = (): string => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

  test("of HTTP_PROXY is used for the Hub and its storage", async () => {
    assertOk(await run(["inspect", "org/model"], { env: { http_proxy: address() } }));
    assert.deepEqual(
      [...new Set(tunnels)].sort(),
      [hub.url, hub.storageUrl].map((url) => url.slice(7)).sort(),
    );
  });

  test("is not used for what NO_PROXY names", async () => {
    tunnels.length = 0;
    assertOk(await run(["inspect", "org/model"], { env: { HTTP_PROXY: address(), NO_PROXY: "127.0.0.1" } }));
    assert.deepEqual(tunnels, []);
  });

  for (const [status, sentence] of [
    ["407 Who Are You", /the proxy asks for a password \(407\)$/],
    ["403 Forbidden", /the proxy refuses the connection \(403\)$/],
  ] as const) {
    test(`that answers ${status} gives 5 and says so`, async (t) => {
      const refusing = createServer();
      refusing.on("connect", (_, socket) => socket.end(`HTTP/1.1 ${status}\r\n\r\n`));
      await new Promise<void>((resolve) => refusing.listen(0, "127.0.0.1", resolve));
      t.after(() => refusing.close());
      const proxy = `http://user:secret@127.0.0.1:${(refusing.address() as AddressInfo).port}`;
      for (const [scheme, endpoint] of [
        ["http", hub.url],
        ["https", "https://hub.invalid"],
      ] as const) {
        const env = { [`${scheme}_proxy`]: proxy, HF_ENDPOINT: endpoint };
        const ended = await run(["inspect", "org/model"], { env });
        assertRefused(ended, 5, sentence);
        assert.ok(!ended.stderr.includes("secret"));
      }
    });
  }

  test("that is not there gives 5, and one that is no address 2 without showing it", async () => {
    const env = { http_proxy: "http://user:secret@127.0.0.1:1" };
    const gone = await run(["inspect", "org/model"], { env });
    assertRefused(gone, 5, /cannot be reached after 5 tries/);
    assert.ok(!gone.stderr.includes("secret"));
    const odd = await run(["inspect", "org/model"], { env: { https_proxy: "socks5://user:secret@h" } });
    assertRefused(odd, 2, /^Error: HTTPS_PROXY is no http or https address$/);
  });
});
