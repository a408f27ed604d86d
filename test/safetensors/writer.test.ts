import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { MachineError } from "../../src/errors.ts";
import { serializeHeader } from "../../src/safetensors/header.ts";
import { openShard } from "../../src/safetensors/reader.ts";
import { AtomicFile, type Digest, TensorFileWriter } from "../../src/safetensors/writer.ts";
import { Prng } from "./prng.ts";
import { scratch } from "./scratch.ts";

/** A digest that is slow, refuses to be called twice at a time, and remembers what it was given. */
function slowSha256(): Digest & { readonly updates: number[] } {
  const hash = createHash("sha256");
  const updates: number[] = [];
  let busy = false;
  return {
    updates,
    async update(bytes) {
      assert.equal(busy, false, "one update at a time");
      busy = true;
      await new Promise((resolve) => setImmediate(resolve));
      hash.update(bytes);
      updates.push(bytes.length);
      busy = false;
    },
    async digest() {
      return hash.digest("hex");
    },
  };
}

const layout = () =>
  serializeHeader(
    [
      { name: "small", dtype: "U8", shape: [3] },
      { name: "large", dtype: "F16", shape: [50, 10] },
      { name: "none", dtype: "F32", shape: [0] },
    ],
    new Map([["format", "pt"]]),
  );

test("blocks in file order are hashed as they are written, never read back", async (t) => {
  const directory = scratch(t);
  const digest = slowSha256();
  const writer = await TensorFileWriter.create(join(directory, "x.tmp"), layout(), digest);
  assert.equal(writer.size, 4096 + 1000 + 3);
  // All at once: the order of the calls is the order of the hash.
  await Promise.all([
    writer.writeTensor("large", 0, new Uint8Array(600).fill(1)),
    writer.writeTensor("large", 600, new Uint8Array(400).fill(2)),
    writer.writeTensor("small", 0, Uint8Array.of(3, 4, 5)),
  ]);
  assert.deepEqual(digest.updates, [4096, 600, 400, 3]);
  const result = await writer.finish(join(directory, "x.safetensors"));
  assert.deepEqual(digest.updates, [4096, 600, 400, 3]);
  const bytes = readFileSync(join(directory, "x.safetensors"));
  assert.deepEqual(result, { size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") });
  assert.deepEqual(readdirSync(directory), ["x.safetensors"]);
});

test("any order of random blocks gives the same file and hash", async (t) => {
  const random = new Prng(5);
  const data = new Map([
    ["small", random.bytes(3)],
    ["large", random.bytes(1000)],
  ]);
  const results = new Set<string>();
  for (let round = 0; round < 20; round++) {
    const directory = scratch(t);
    const digest = slowSha256();
    const writer = await TensorFileWriter.create(join(directory, "x.tmp"), layout(), digest);
    const blocks: [string, number, Uint8Array][] = [];
    for (const [name, bytes] of data) {
      for (let at = 0; at < bytes.length; ) {
        const end = Math.min(bytes.length, at + 1 + random.below(300));
        blocks.push([name, at, bytes.slice(at, end)]);
        at = end;
      }
    }
    for (const [name, at, bytes] of random.shuffled(blocks)) {
      assert.equal(writer.complete, false);
      await writer.writeTensor(name, at, bytes);
      bytes.fill(0); // the buffer is the caller's again
    }
    assert.equal(writer.complete, true);
    const path = join(directory, "x.safetensors");
    const { sha256, size } = await writer.finish(path);
    assert.equal(sha256, createHash("sha256").update(readFileSync(path)).digest("hex"));
    assert.equal(
      digest.updates.reduce((sum, length) => sum + length, 0),
      size,
    );
    results.add(sha256);
    const shard = await openShard(path);
    for (const [name, bytes] of data) {
      const info = shard.header.byName.get(name);
      assert.ok(info);
      const read = new Uint8Array(bytes.length);
      await shard.readTensor(info, 0, read);
      assert.deepEqual(read, bytes);
    }
    await shard.close();
  }
  assert.equal(results.size, 1);
});

test("reads back in blocks of 4 MiB what was written out of order", async (t) => {
  const directory = scratch(t);
  const digest = slowSha256();
  const size = 9 << 20;
  const header = serializeHeader([{ name: "a", dtype: "U8", shape: [size] }], new Map());
  const writer = await TensorFileWriter.create(join(directory, "x.tmp"), header, digest);
  await writer.writeTensor("a", 1, new Prng(6).bytes(1000));
  await writer.writeTensor("a", 1001, new Uint8Array(size - 1001).fill(7));
  await writer.writeTensor("a", 0, Uint8Array.of(9));
  const { sha256 } = await writer.finish(join(directory, "x"));
  assert.deepEqual(digest.updates, [4096, 1, 4 << 20, 4 << 20, (1 << 20) - 1]);
  assert.equal(
    sha256,
    createHash("sha256")
      .update(readFileSync(join(directory, "x")))
      .digest("hex"),
  );
});

test("rebuilds a file from a header that was read", async (t) => {
  const json =
    '{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}  ';
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const original = Buffer.concat([prefix, Buffer.from(json), Uint8Array.of(1, 2)]);
  const directory = scratch(t, { source: original });
  const shard = await openShard(join(directory, "source"));
  t.after(() => shard.close());
  const writer = await TensorFileWriter.create(
    join(directory, "tmp"),
    { bytes: await shard.rawHeader(), tensors: shard.header.tensors },
    slowSha256(),
  );
  await writer.writeTensor("a", 0, Uint8Array.of(2));
  await writer.writeTensor("b", 0, Uint8Array.of(1));
  await writer.finish(join(directory, "copy"));
  assert.deepEqual(readFileSync(join(directory, "copy")), original);
});

test("refuses misuse and leaves no file behind", async (t) => {
  const directory = scratch(t);
  const writer = await TensorFileWriter.create(join(directory, "x.tmp"), layout(), slowSha256());
  await assert.rejects(
    writer.writeTensor("other", 0, new Uint8Array(1)),
    /tensor "other" is not in the header/,
  );
  await assert.rejects(
    writer.writeTensor("small", 2, new Uint8Array(2)),
    /write of 2 bytes at 2 in tensor "small" of 3/,
  );
  await assert.rejects(writer.writeTensor("small", -1, new Uint8Array(1)), RangeError);
  await writer.writeTensor("large", 0, new Uint8Array(1000));
  await assert.rejects(
    writer.writeTensor("large", 999, new Uint8Array(1)),
    /bytes 5095 to 5096 .* are written twice/,
  );
  await writer.writeTensor("small", 1, new Uint8Array(2));
  await writer.writeTensor("none", 0, new Uint8Array());
  await assert.rejects(writer.finish(join(directory, "x")), /byte 5096 of 5099 .* was never written/);
  await writer.abort();
  await writer.abort();
  assert.deepEqual(readdirSync(directory), []);
});

test("a failed digest fails the write and the file", async (t) => {
  const directory = scratch(t);
  let calls = 0;
  const digest: Digest = {
    async update() {
      if (++calls === 2) throw new Error("digest broke");
    },
    digest: async () => "",
  };
  const header = serializeHeader([{ name: "a", dtype: "U8", shape: [2] }], new Map());
  const writer = await TensorFileWriter.create(join(directory, "x.tmp"), header, digest);
  await assert.rejects(writer.writeTensor("a", 0, new Uint8Array(2)), /digest broke/);
  await assert.rejects(writer.finish(join(directory, "x")), /1 writes .* failed or are still going on/);
  await writer.abort();
  assert.deepEqual(readdirSync(directory), []);
});

test("a temporary name that is taken is replaced, never followed", { timeout: 5000 }, async (t) => {
  const directory = scratch(t, { victim: "precious", stale: "left by a killed run" });
  symlinkSync("victim", join(directory, "symbolic"));
  linkSync(join(directory, "victim"), join(directory, "hard"));
  execFileSync("mkfifo", [join(directory, "fifo")]);
  for (const name of ["symbolic", "hard", "fifo", "stale"]) {
    const file = await AtomicFile.create(join(directory, name));
    await file.write(Buffer.from("new"), 0);
    await file.commit(join(directory, `${name}.final`));
    assert.equal(readFileSync(join(directory, `${name}.final`), "utf8"), "new");
    assert.equal(existsSync(join(directory, name)), false);
  }
  assert.equal(readFileSync(join(directory, "victim"), "utf8"), "precious");
});

test("commit replaces a link of the final name, not its target", async (t) => {
  const directory = scratch(t, { victim: "precious" });
  symlinkSync("victim", join(directory, "final"));
  const file = await AtomicFile.create(join(directory, "tmp"));
  await file.write(Buffer.from("new!"), 0);
  await file.truncate(3);
  await file.commit(join(directory, "final"));
  const next = await AtomicFile.create(join(directory, "tmp"));
  await file.abort();
  assert.ok(existsSync(join(directory, "tmp")), "a late abort leaves the next file of that name alone");
  await next.abort();
  assert.equal(readFileSync(join(directory, "final"), "utf8"), "new");
  assert.equal(readFileSync(join(directory, "victim"), "utf8"), "precious");
  assert.throws(() => readlinkSync(join(directory, "final")));
});

test("failures of the output are MachineErrors with path, reason and hint", async (t) => {
  const directory = scratch(t, { "taken/x": "" });
  const isMachineError = (message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof MachineError, String(error));
    assert.match(error.message, message);
    assert.ok(error.hint);
    return true;
  };
  await assert.rejects(
    AtomicFile.create(join(directory, "absent", "x")),
    isMachineError(/absent\/x" cannot be written: no such file or directory \(ENOENT\)$/),
  );
  mkdirSync(join(directory, "tmp"));
  await assert.rejects(
    AtomicFile.create(join(directory, "tmp")),
    isMachineError(/tmp" cannot be written: .*\((EISDIR|EPERM)\)$/),
  );
  const file = await AtomicFile.create(join(directory, "y.tmp"));
  await assert.rejects(
    file.commit(join(directory, "taken")),
    isMachineError(/taken" cannot be written: .*\(EISDIR\)$/),
  );
  await file.abort();
  assert.equal(existsSync(join(directory, "y.tmp")), false);
});

test("a full disk is a MachineError", { skip: !existsSync("/dev/full") && "no /dev/full" }, async () => {
  // AtomicFile opens nothing that exists, so the device stands in for its file handle.
  const script = `
    import { syncBuiltinESMExports } from "node:module";
    import promises from "node:fs/promises";
    const open = promises.open;
    promises.unlink = async () => {};
    promises.open = () => open("/dev/full", "w");
    syncBuiltinESMExports();
    const { AtomicFile } = await import("./src/safetensors/atomic-file.ts");
    const file = await AtomicFile.create("/x/out.tmp");
    await file.write(new Uint8Array(10), 0).catch((error) => console.log(error.name, error.message, error.hint));
  `;
  const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    cwd: join(import.meta.dirname, "../.."),
    encoding: "utf8",
  });
  assert.match(
    output,
    /^MachineError "\/x\/out.tmp" cannot be written: no space left on device \(ENOSPC\) free some space/,
  );
});
