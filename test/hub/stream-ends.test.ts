import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { assertOk, assertRefused } from "../cli/run.ts";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { Prng } from "../safetensors/prng.ts";
import { filesOf } from "./contents.ts";
import { startHub } from "./hub-run.ts";
import { publish, writeSpanning } from "./spanning-model.ts";

const hubRun = await startHub();
const { hub, scratch, run, start } = hubRun;
let plain: Readonly<Record<string, string>>;
before(async () => {
  plain = await publish(hubRun, "org/plain", writeModel(join(scratch, "plain"), { width: 128 }));
});

describe("convert --stream that does not come to its end", () => {
  const shard = /^GET \/[0-9a-f]{64}/;

  test("for the network keeps what it has, and --resume fetches only what is missing", async () => {
    const out = join(scratch, "broken-off");
    const args = ["convert", "org/plain", "-o", out, "--stream"];
    const second = hub.storedName(readFileSync(join(scratch, "plain/model-00002-of-00003.safetensors")));
    hub.fail(new RegExp(`^GET /${second}`), { kind: "silence", bytes: 100_000 }, 1);
    hub.fail(new RegExp(`^GET /${second}`), { kind: "status", status: 500 });
    // The header comes first, by a range of its own.
    hub.allow(new RegExp(`^GET /${second}`), 1);
    assertRefused(await run(args, { env: { HF_HUB_DOWNLOAD_TIMEOUT: "0.7" } }), 5, /answers with an error/);
    assert.ok(
      existsSync(join(out, "model-00001-of-00003.safetensors")) && !existsSync(join(out, "config.json")),
    );
    hub.reset();
    assertRefused(await run(args), 2, /holds an unfinished run/);
    const files = filesOf(join(scratch, "plain"));
    hub.add("org/plain", { files, commit: "e".repeat(40) });
    const other = await run([...args, "--resume"]);
    assertRefused(other, 2, /was made with the source revision "[0-9a-f]{40}", and this run has "e{40}"/);
    hub.add("org/plain", { files });
    hub.reset();
    assertOk(await run([...args, "--resume"]));
    assert.deepEqual(treeOf(out), plain);
    const ranges = hub.requests.filter(({ url }) => url.startsWith(`/${second}`)).map(({ range }) => range);
    assert.deepEqual(ranges.slice(1), ["bytes=100000-"]);
    const first = hub.storedName(readFileSync(join(scratch, "plain/model-00001-of-00003.safetensors")));
    assert.ok(!hub.requests.some(({ url, range }) => url.startsWith(`/${first}`) && range === undefined));
  });

  test("for the network in its first shard keeps what came of it", async () => {
    const out = join(scratch, "first-broken-off");
    const args = ["convert", "org/plain", "-o", out, "--stream"];
    const first = hub.storedName(readFileSync(join(scratch, "plain/model-00001-of-00003.safetensors")));
    const asked = new RegExp(`^GET /${first}`);
    hub.allow(asked, 1);
    hub.fail(asked, { kind: "silence", bytes: 100_000 }, 1);
    hub.fail(asked, { kind: "status", status: 500 });
    assertRefused(await run(args, { env: { HF_HUB_DOWNLOAD_TIMEOUT: "0.7" } }), 5, /answers with an error/);
    hub.reset();
    assertOk(await run([...args, "--resume"]));
    assert.deepEqual(treeOf(out), plain);
    const ranges = hub.requests.filter(({ url }) => url.startsWith(`/${first}`)).map(({ range }) => range);
    assert.deepEqual(ranges.slice(1), ["bytes=100000-"]);
  });

  test("at many random moments, killed and resumed, gives the same directory", async (t) => {
    const kills = Number(process.env.NESTEDFP_KILLS ?? 12);
    const folder = writeSpanning(join(scratch, "kill"), "BF16", 256, ["1.self_attn.v_proj", "1.mlp.up_proj"]);
    const expected = await publish(hubRun, "org/kill", folder);
    const prng = new Prng(5);
    let landed = 0;
    let finished = 0;
    for (let kill = 0; kill < kills; kill++) {
      const out = join(scratch, `killed-${finished}`);
      const { child, ended } = start(["convert", "org/kill", "-o", out, "--stream", "--resume"]);
      const timer = setTimeout(() => child.kill("SIGKILL"), 150 + prng.below(900));
      const { signal, code, stderr } = await ended;
      clearTimeout(timer);
      assert.ok(signal === "SIGKILL" || code === 0, stderr);
      if (signal === "SIGKILL") landed++;
      if (existsSync(join(out, "config.json")) || kill % 5 === 4) {
        assertOk(await run(["convert", "org/kill", "-o", out, "--stream", "--resume"]));
        assert.deepEqual(treeOf(out), expected);
        finished++;
      }
    }
    t.diagnostic(`${landed} of ${kills} kills landed, ${finished} conversions were finished`);
    assert.ok(landed >= kills / 3);
  });

  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    test(`for ${signal} gives ${code}, removes temporary files, and goes on`, async () => {
      const out = join(scratch, signal);
      const args = ["convert", "org/plain", "-o", out, "--stream"];
      hub.fail(shard, { kind: "silence", bytes: 50_000 });
      hub.allow(shard, 4);
      const { child, ended } = start(args);
      while (!hub.requests.some(({ storage, range }) => storage && range === undefined))
        await new Promise((done) => setTimeout(done, 5));
      child.kill(signal);
      assertRefused(await ended, code, new RegExp(`interrupted by ${signal}`));
      const kept = readdirSync(join(out, ".nestedfp"));
      assert.ok(kept.includes("run.json") && !kept.some((name) => name.endsWith(".tmp")), `${kept}`);
      hub.reset();
      assertOk(await run([...args, "--resume"]));
      assert.deepEqual(treeOf(out), plain);
    });
  }

  test("--resume of a finished one asks for headers only; of another commit it is refused", async () => {
    const out = join(scratch, "streamed");
    assertOk(await run(["convert", "org/plain", "-o", out, "--stream"]));
    hub.requests.length = 0;
    assertOk(await run(["convert", "org/plain", "-o", out, "--stream", "--resume"]));
    assert.ok(hub.requests.filter(({ storage }) => storage).every(({ range }) => range !== undefined));
    const { files } = { files: filesOf(join(scratch, "plain")) };
    hub.add("org/plain", { files, commit: "f".repeat(40) });
    const other = await run(["convert", "org/plain", "-o", out, "--stream", "--resume"]);
    assertRefused(other, 2, /was made with the source revision "[0-9a-f]{40}", and this run has "f{40}"/);
    hub.add("org/plain", { files });
  });

  test("never writes through a link", async () => {
    const out = join(scratch, "linked");
    mkdirSync(join(out, ".nestedfp"), { recursive: true });
    mkdirSync(join(scratch, "elsewhere"));
    symlinkSync(join(scratch, "elsewhere"), join(out, ".nestedfp/source"));
    const ended = await run(["convert", "org/plain", "-o", out, "--stream", "--resume"]);
    assertRefused(ended, 3, /is no folder, and output is never written through a link/);
    assert.deepEqual(readdirSync(join(scratch, "elsewhere")), []);
  });

  test("for a server that changes the header gives 4", async () => {
    const files = filesOf(join(scratch, "plain"));
    const name = "model-00001-of-00003.safetensors";
    const [bytes, other] = [files[name], files["model-00003-of-00003.safetensors"]];
    assert.ok(bytes && other);
    const swapped = Buffer.from(bytes);
    // Another name of as many letters in the header that ranges see.
    swapped.write("p_proj", swapped.indexOf("q_proj"));
    const index = Buffer.from(
      String(files["model.safetensors.index.json"]).replace(
        "layers.0.self_attn.q_proj",
        "layers.0.self_attn.p_proj",
      ),
    );
    hub.add("org/two-faced", {
      files: { ...files, "model.safetensors.index.json": index },
      rangeFiles: { [name]: swapped },
    });
    const ended = await run(["convert", "org/two-faced", "-o", join(scratch, "two-faced"), "--stream"]);
    assertRefused(ended, 4, /its header is not the one that was read before it was fetched/);
  });
});
