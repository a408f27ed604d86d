import assert from "node:assert/strict";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { assertOk, assertRefused, root } from "../cli/run.ts";
import { noMount, smallDisk } from "../cli/small-disk.ts";
import { treeOf } from "../convert/checkpoints.ts";
import { startHub } from "./hub-run.ts";
import { publish, writeSpanning } from "./spanning-model.ts";

const hubRun = await startHub();
const { hub, scratch, cache, run } = hubRun;
const args = ["convert", "org/spanning", "--stream", "-o"];
const preload = `--import=${join(root, "test/cli/fail-calls.mjs")}`;
let expected: Readonly<Record<string, string>>;
/** The storage's address of the last shard: when it is asked for whole, the others have their pairs. */
let lastShard: string;
let counts: Readonly<Record<"write" | "sync" | "rename" | "open", number>>;

before(async () => {
  // Its last shards break groups: earlier pairs are written again, from themselves.
  const broken = ["1.self_attn.v_proj", "1.mlp.up_proj"];
  const folder = writeSpanning(join(scratch, "spanning"), "BF16", 128, broken);
  expected = await publish(hubRun, "org/spanning", folder);
  lastShard = `/${hub.storedName(readFileSync(join(folder, "model-00004-of-00004.safetensors")))}`;
  const calls = join(scratch, "calls");
  const env = { NODE_OPTIONS: preload, NESTEDFP_CALLS: calls };
  assertOk(await run([...args, join(scratch, "undisturbed")], { env }));
  counts = JSON.parse(readFileSync(calls, "utf8"));
});

/**
 * What stands under a final name is what the undisturbed run wrote, or a whole pair that a later shard's group would
 * still have changed; nothing temporary is left.
 */
function assertWhole(out: string): void {
  if (!existsSync(out)) return;
  for (const [path, hash] of Object.entries(treeOf(out))) {
    assert.ok(!path.endsWith(".tmp"), path);
    if (path.startsWith(".nestedfp/") || path.endsWith("/") || hash === expected[path]) continue;
    assert.match(path, /^(model-|nestedfp\/lower-)/);
    const bytes = readFileSync(join(out, path));
    assert.equal(bytes.length, sizeByHeader(bytes), path);
  }
}

/** Bytes that a safetensors file has by its own header. */
function sizeByHeader(bytes: Buffer): number {
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...tensors } = JSON.parse(bytes.toString("utf8", 8, end));
  const ends = Object.values(tensors as Record<string, { data_offsets: [number, number] }>);
  return end + Math.max(0, ...ends.map(({ data_offsets }) => data_offsets[1]));
}

/** Goes on with what a failed run left, to the directory that it should have been. */
async function assertGoesOn(out: string): Promise<void> {
  assertOk(await run([...args, out, "--resume"]));
  assert.deepEqual(treeOf(out), expected);
  assert.ok(!existsSync(cache("default")) || !existsSync(join(cache("default"), "models--org--spanning")));
}

describe("convert --stream: a call of the file system that fails gives 3, leaves whole files, and is gone on with:", () => {
  for (const [call, codes] of [
    ["write", ["EIO", "ENOSPC"]],
    ["sync", ["EIO", "EDQUOT"]],
    ["rename", ["EACCES", "EIO"]],
    ["open", ["EACCES", "ENOSPC", "EROFS"]],
  ] as const) {
    test(`${call}: the first, one near the end, and some between`, async () => {
      const last = counts[call];
      assert.ok(last >= 8, `${last} calls`);
      // In how many pieces a body is written is the network's choice: there is no last write to count on.
      const late = call === "write" ? Math.ceil(last / 2) : last;
      for (const [i, number] of [1, Math.ceil(late / 3), Math.ceil((2 * late) / 3), late].entries()) {
        const code = codes[i % codes.length] ?? "EIO";
        const out = join(scratch, `failing-${call}-${number}`);
        const env = { NODE_OPTIONS: preload, NESTEDFP_FAIL: `${call}:${number}:${code}` };
        const failed = await run([...args, out], { env });
        assertRefused(failed, 3, new RegExp(`cannot be written: .*${code}`));
        assert.match(failed.stderr, /\nHint: .*output directory/);
        assertWhole(out);
        assert.equal(existsSync(out), number > 1, "what was begun and holds nothing goes away");
        await assertGoesOn(out);
      }
    });
  }
});

describe("convert --stream", () => {
  test("whose target vanishes while a shard comes gives 3, and does not make it again", async () => {
    const [out, away] = [join(scratch, "vanishing"), join(scratch, "away")];
    hub.allow(new RegExp(`^GET ${lastShard}`), 1);
    hub.onPiece = (path) => {
      if (path.startsWith(lastShard) && existsSync(join(out, "model-00001-of-00004.safetensors")))
        renameSync(out, away);
    };
    const failed = await run([...args, out]);
    assertRefused(failed, 3, /cannot be written: no such file or directory \(ENOENT\)/);
    assert.ok(!existsSync(out) && existsSync(away));
    hub.reset();
    await assertGoesOn(away);
  });

  test("on a disk that fills up meanwhile gives 3, and goes on when there is room", {
    skip: noMount,
  }, async (t) => {
    const disk = await smallDisk(t, 8 << 20);
    const [out, filler] = [join(disk, "out"), join(disk, "filler")];
    hub.onPiece = (path) => {
      if (!path.startsWith(lastShard) || !existsSync(join(out, "model-00001-of-00004.safetensors"))) return;
      assert.throws(() => writeFileSync(filler, Buffer.alloc(8 << 20)), /ENOSPC/);
    };
    const failed = await run([...args, out]);
    assertRefused(failed, 3, /cannot be written: no space left on device \(ENOSPC\)/);
    assertWhole(out);
    assert.ok(!existsSync(join(out, "config.json")));
    hub.reset();
    rmSync(filler);
    await assertGoesOn(out);
  });

  test("where files may not be as large gives 3", { skip: process.platform === "win32" }, async () => {
    const out = join(scratch, "limited");
    // Blocks of 512 bytes (dash) or of 1024 (bash).
    const failed = await run([...args, out], { shell: 'ulimit -f 64; exec "$@"' });
    assertRefused(failed, 3, /cannot be written: file too large \(EFBIG\)/);
    assertWhole(out);
    await assertGoesOn(out);
  });
});
