import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import type { DryRunResult } from "../../src/convert/dry-run.ts";
import { assertOk, assertRefused, documentOf, root } from "../cli/run.ts";
import { treeOf, weights, writeCheckpoint, writeModel } from "../convert/checkpoints.ts";
import { Prng } from "../safetensors/prng.ts";
import { filesOf, gitBlobId } from "./contents.ts";
import { startHub } from "./hub-run.ts";
import { publish, writeSpanning } from "./spanning-model.ts";

const hubRun = await startHub();
const { hub, scratch, cache, run } = hubRun;

/** Bytes of every file below a folder, links not followed. */
function bytesBelow(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += bytesBelow(path);
    else bytes += statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}

let plain: Readonly<Record<string, string>>;
before(async () => {
  plain = await publish(hubRun, "org/plain", writeModel(join(scratch, "plain"), { width: 128 }));
});

describe("convert --stream gives the directory of a conversion of the whole:", () => {
  test("shards that stand for themselves, and nothing stays in the cache", async () => {
    const out = join(scratch, "streamed");
    assertOk(await run(["convert", "org/plain", "-o", out, "--stream"], { cache: "stream" }));
    assert.deepEqual(treeOf(out), plain);
    assert.ok(!existsSync(cache("stream")));
    assertOk(await run(["verify", "--deep", out, "--against", join(scratch, "plain")]));
  });

  test("a lone model.safetensors, and a repository that has a converted one's names for files", async () => {
    const folder = join(root, "fixtures/tiny-llama");
    const expected = await publish(hubRun, "org/tiny", folder);
    const out = join(scratch, "tiny");
    assertOk(await run(["convert", "org/tiny", "-o", out, "--stream", "--json"]));
    assert.deepEqual(treeOf(out), expected);
    hub.add("org/nested", { files: filesOf(out) });
    const nested = await run(["convert", "org/nested", "-o", join(scratch, "nested"), "--stream"]);
    assertRefused(nested, 4, /"org\/nested@[0-9a-f]{40}" is already quantised with nestedfp/);
    assert.ok(!existsSync(join(scratch, "nested")));
  });

  const cases: readonly (readonly [
    name: string,
    dtype: "F16" | "BF16",
    broken: string[],
    args: string[],
    fetches: number,
  ])[] = [
    ["groups that hold", "BF16", [], [], 1],
    ["a group that the first shard breaks", "F16", ["0.self_attn.q_proj"], [], 1],
    ["a group that the last shard breaks", "F16", ["0.self_attn.v_proj"], [], 1],
    [
      "two groups that later shards break, with patches and row shifts",
      "BF16",
      ["1.self_attn.k_proj", "0.mlp.up_proj", "1.mlp.up_proj"],
      [],
      1,
    ],
    ["the paper's rule", "BF16", ["1.self_attn.v_proj"], ["--no-row-shift"], 1],
    ["--bf16 keep", "BF16", ["0.self_attn.v_proj"], ["--bf16", "keep"], 1],
    ["--verify none", "F16", ["0.self_attn.v_proj"], ["--verify", "none"], 1],
    [
      "--bf16 lossy, which cannot be put back and is fetched again",
      "BF16",
      ["0.self_attn.v_proj"],
      ["--bf16", "lossy"],
      2,
    ],
  ];
  for (const [i, [name, dtype, broken, args, fetches]] of cases.entries()) {
    test(name, async () => {
      const folder = writeSpanning(join(scratch, `spanning-${i}`), dtype, 64, broken);
      const expected = await publish(hubRun, `org/spanning-${i}`, folder, ...args);
      const out = join(scratch, `out-${i}`);
      assertOk(await run(["convert", `org/spanning-${i}`, "-o", out, "--stream", ...args]));
      assert.deepEqual(treeOf(out), expected);
      const whole = hub.requests.filter(
        ({ storage, range, url }) => storage && range === undefined && !url.includes("tokenizer"),
      );
      const most = Math.max(...whole.map(({ url }) => whole.filter((request) => request.url === url).length));
      assert.equal(most, fetches, "how often a shard was fetched");
      const reasons = readFileSync(join(out, "nestedfp/manifest.json"), "utf8");
      if (args.length === 0) assert.equal(reasons.includes('"reason": "group"'), broken.length > 0);
    });
  }
});

describe("disk", () => {
  test("never holds more than --dry-run stated, and not two source shards", async () => {
    const folder = writeSpanning(join(scratch, "peak"), "BF16", 512, ["1.self_attn.v_proj", "1.mlp.up_proj"]);
    const expected = await publish(hubRun, "org/peak", folder);
    const dry = await run(["convert", "org/peak", "--stream", "--dry-run", "--json"]);
    assertOk(dry);
    const { peak_disk: peak } = documentOf<DryRunResult>(dry).result;
    assert.ok(peak !== null && peak.rewrite > 0);
    const largest = Math.max(
      ...Object.entries(filesOf(folder)).map(([name, { length }]) =>
        name.endsWith(".safetensors") ? length : 0,
      ),
    );
    assert.equal(peak.source, largest);
    const out = join(scratch, "peak-out");
    const measured = join(scratch, "peak.json");
    const preload = `--import=${join(root, "test/cli/watch-disk.mjs")}`;
    const env = { NODE_OPTIONS: preload, NESTEDFP_WATCH: out, NESTEDFP_PEAK: measured };
    assertOk(await run(["convert", "org/peak", "-o", out, "--stream"], { env }));
    const most = JSON.parse(readFileSync(measured, "utf8"));
    assert.deepEqual(treeOf(out), expected);
    assert.ok(most.looks > 20, `${most.looks} looks`);
    assert.equal(most.sources, 1);
    assert.ok(most.bytes <= peak.total, `${most.bytes} of ${peak.total} bytes`);
    // Not a bound that says nothing: a rewrite needs what it states, and another source shard would not fit under it.
    const written = bytesBelow(out);
    assert.ok(most.bytes > written + peak.source, `${most.bytes} for ${written}`);
    assert.ok(most.bytes + largest > peak.total, `${most.bytes} of ${peak.total} bytes`);
    assert.ok(peak.output < 1.2 * written, `${peak.output} for ${written}`);
  });

  test("that is too small is refused before anything is fetched", {
    skip: process.platform !== "linux",
  }, async () => {
    const tensor = weights(new Prng(1), "model.layers.0.mlp.down_proj.weight", "F16", [64, 64]);
    const folder = writeCheckpoint(join(scratch, "huge"), { "model.safetensors": [tensor] });
    const files = filesOf(folder);
    const json = JSON.stringify({
      [tensor.name]: { dtype: "F16", shape: [2 ** 25, 2 ** 25], data_offsets: [0, 2 ** 51] },
    });
    // What a first range asks for, and no more.
    const header = Buffer.concat([Buffer.alloc(8), Buffer.from(json), Buffer.alloc(200_000)]);
    header.writeBigUInt64LE(BigInt(json.length));
    const listing = [
      {
        type: "file",
        path: "config.json",
        size: files["config.json"]?.length,
        oid: gitBlobId(files["config.json"] ?? new Uint8Array(0)),
      },
      {
        type: "file",
        path: "model.safetensors",
        size: 8 + json.length + 2 ** 51,
        oid: "0".repeat(40),
        lfs: { oid: "0".repeat(64), size: 8 + json.length + 2 ** 51, pointerSize: 1 },
      },
    ];
    hub.add("org/huge", {
      files: { ...files, "model.safetensors": header },
      listing,
      sizes: { "model.safetensors": 8 + json.length + 2 ** 51 },
    });
    const ended = await run(["convert", "org/huge", "-o", join(scratch, "huge-out"), "--stream"]);
    assertRefused(ended, 3, /needs \d+ bytes, and its file system has \d+ free/);
    assert.ok(!existsSync(join(scratch, "huge-out")));
  });
});
