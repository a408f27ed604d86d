import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import type { DryRunResult } from "../../src/convert/dry-run.ts";
import { assertOk, assertRefused, documentOf, root } from "../cli/run.ts";
import type { TensorData } from "../convert/checkpoints.ts";
import {
  decoderLayer,
  treeOf,
  weights,
  withWord,
  writeCheckpoint,
  writeModel,
} from "../convert/checkpoints.ts";
import { Prng } from "../safetensors/prng.ts";
import { filesOf, gitBlobId } from "./contents.ts";
import { startHub } from "./hub-run.ts";

const { hub, scratch, cache, run, start } = await startHub();
const NaN16 = 0x7e00;

/**
 * Two layers whose tensors go round over four shards, so that every fusion group spans shards. `broken` names
 * tensors that get a NaN, and so break their group.
 */
function writeSpanning(
  directory: string,
  dtype: "F16" | "BF16",
  width: number,
  broken: readonly string[],
): string {
  const prng = new Prng(11);
  const shards: TensorData[][] = [[], [], [], []];
  let next = 0;
  for (const layer of [0, 1]) {
    for (const tensor of decoderLayer(prng, layer, dtype, width)) {
      const isBroken = broken.some((name) => tensor.name.endsWith(`${name}.weight`));
      const nan = dtype === "F16" ? NaN16 : 0x7fc0;
      shards[next++ % 4]?.push(isBroken ? withWord(tensor, 5, nan) : tensor);
    }
  }
  const names = shards.map((_, i) => `model-0000${i + 1}-of-00004.safetensors`);
  writeCheckpoint(directory, Object.fromEntries(shards.map((tensors, i) => [names[i], tensors])));
  writeFileSync(join(directory, "tokenizer.json"), "{}");
  return directory;
}

/** Publishes a folder and converts it the usual way. @returns what a streamed conversion must give */
async function publish(
  id: string,
  folder: string,
  ...args: string[]
): Promise<Readonly<Record<string, string>>> {
  hub.add(id, { files: filesOf(folder) });
  const out = join(scratch, `reference-${id.replace("/", "-")}`);
  assertOk(await run(["convert", id, "-o", out, ...args], { cache: "references" }));
  hub.reset();
  return treeOf(out);
}

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
  plain = await publish("org/plain", writeModel(join(scratch, "plain"), { width: 128 }));
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
    const expected = await publish("org/tiny", folder);
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
      const expected = await publish(`org/spanning-${i}`, folder, ...args);
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
    const expected = await publish("org/peak", folder);
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
    let most = 0;
    let sources = 0;
    const look = (): void => {
      if (!existsSync(out)) return;
      try {
        most = Math.max(most, bytesBelow(out));
        const work = readdirSync(join(out, ".nestedfp"));
        sources = Math.max(sources, work.filter((name) => name.startsWith("shard-")).length);
      } catch {
        // A file that was there a moment ago.
      }
    };
    const timer = setInterval(look, 1);
    hub.onPiece = look;
    assertOk(await run(["convert", "org/peak", "-o", out, "--stream"]));
    clearInterval(timer);
    assert.deepEqual(treeOf(out), expected);
    assert.equal(sources, 1);
    assert.ok(most > peak.source, `${most}`);
    assert.ok(most <= peak.total, `${most} of ${peak.total} bytes`);
    // Not a bound that says nothing: a second source shard would not fit under it without the patches' share.
    const written = bytesBelow(out);
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

  test("at many random moments, killed and resumed, gives the same directory", async (t) => {
    const kills = Number(process.env.NESTEDFP_KILLS ?? 12);
    const folder = writeSpanning(join(scratch, "kill"), "BF16", 256, ["1.self_attn.v_proj", "1.mlp.up_proj"]);
    const expected = await publish("org/kill", folder);
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
