import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { FormatError } from "../../src/errors.ts";
import { openShard, readWholeFile } from "../../src/safetensors/reader.ts";
import { frame, scratch, shardOf } from "./scratch.ts";

const header =
  '{"b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]},"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]}} ';
const file = frame(header, Uint8Array.of(10, 11, 12, 13, 14));

/** True for a FormatError with a hint whose message matches. */
const refusal = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof FormatError, String(error));
  assert.match(error.message, message);
  assert.ok(error.hint);
  return true;
};

for (const keepOpen of [true, false]) {
  test(`reads ranges, keepOpen ${keepOpen}`, async (t) => {
    const shard = await openShard(join(scratch(t, { "x.safetensors": file }), "x.safetensors"), undefined, {
      keepOpen,
    });
    assert.equal(shard.name, "x.safetensors");
    assert.equal(shard.size, file.length);
    assert.deepEqual(await shard.rawHeader(), new Uint8Array(file.subarray(0, 8 + header.length)));
    const b = shard.header.byName.get("b");
    assert.ok(b);
    const into = new Uint8Array(2);
    await shard.readTensor(b, 1, into);
    assert.deepEqual([...into], [13, 14]);
    await shard.read(shard.header.headerBytes, into);
    assert.deepEqual([...into], [10, 11]);
    await assert.rejects(
      shard.readTensor(b, 2, into),
      /^RangeError: read of 2 bytes at 2 in tensor "b" of 3 bytes$/,
    );
    await assert.rejects(shard.readTensor(b, -1, into), RangeError);
    await assert.rejects(shard.read(file.length - 1, into), RangeError);
    await shard.close();
    await shard.close();
  });

  test(`tells a file that shrinks while it is read, keepOpen ${keepOpen}`, async (t) => {
    const path = join(scratch(t, { "x.safetensors": file }), "x.safetensors");
    const shard = await openShard(path, "x", { keepOpen });
    t.after(() => shard.close());
    truncateSync(path, file.length - 1);
    await assert.rejects(
      shard.read(0, new Uint8Array(file.length)),
      refusal(keepOpen ? /ends at byte \d+, but \d+ bytes were expected$/ : /was changed while it was read$/),
    );
  });
}

test("a file that is replaced is not read under the old header", async (t) => {
  const path = join(scratch(t, { "x.safetensors": file }), "x.safetensors");
  const shard = await openShard(path, "x", { keepOpen: false });
  writeFileSync(path, frame(header, Uint8Array.of(0, 0, 0, 0, 0)));
  // The same length and, on a coarse clock, the same time: only the date is left to tell, so set it apart.
  execFileSync("touch", ["-d", "2001-01-01", path]);
  await assert.rejects(shard.rawHeader(), refusal(/was changed while it was read$/));
});

test("follows a link to a regular file, as in the HF cache", async (t) => {
  const directory = scratch(t, { "blobs/0123": file });
  symlinkSync("blobs/0123", join(directory, "x.safetensors"));
  const shard = await openShard(join(directory, "x.safetensors"));
  assert.equal(shard.header.tensors.length, 2);
  await shard.close();
});

test("refuses what is no regular file, without waiting for it", { timeout: 5000 }, async (t) => {
  const directory = scratch(t);
  const path = (name: string) => join(directory, name);
  mkdirSync(path("directory"));
  execFileSync("mkfifo", [path("fifo")]);
  symlinkSync("fifo", path("link"));
  symlinkSync("nowhere", path("dangling"));
  symlinkSync("circle", path("circle"));
  const server = createServer().listen(path("socket"));
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => server.close());

  await assert.rejects(openShard(path("directory")), refusal(/is a directory, not a regular file$/));
  await assert.rejects(openShard(path("fifo")), refusal(/is a FIFO, not a regular file$/));
  await assert.rejects(openShard(path("link")), refusal(/is a FIFO, not a regular file$/));
  await assert.rejects(openShard("/dev/zero"), refusal(/^"\/dev\/zero" is a device, not a regular file$/));
  await assert.rejects(openShard(path("socket")), refusal(/cannot be read: .*\(ENXIO\)$/));
  await assert.rejects(
    openShard(path("dangling")),
    refusal(/cannot be read: no such file or directory \(ENOENT\)$/),
  );
  await assert.rejects(openShard(path("circle")), refusal(/\(ELOOP\)$/));
  await assert.rejects(openShard(path("a\0b")), refusal(/a\\u0000b" cannot be read/));
});

test("names the path of a file that may not be read", {
  skip: process.getuid?.() === 0 && "root reads everything",
}, async (t) => {
  const directory = scratch(t, { "x.safetensors": file });
  chmodSync(join(directory, "x.safetensors"), 0);
  await assert.rejects(openShard(join(directory, "x.safetensors")), refusal(/permission denied \(EACCES\)$/));
});

for (const [start, advice] of [
  ["version https://git-lfs.github.com/spec/v1\n", /git lfs pull/],
  ["GGUF\x03\0\0\0\xff\xff", /GGUF/],
  ["PK\x03\x04\0\0\0\x08\x08", /PyTorch/],
  ["<!DOCTYPE html>", /web page/],
] as const) {
  test(`recognises ${JSON.stringify(start)}`, async (t) => {
    const directory = scratch(t, { x: Buffer.from(start, "latin1") });
    await assert.rejects(openShard(join(directory, "x")), (error) => {
      assert.ok(error instanceof FormatError);
      assert.match(error.message, /^"x": header length \d+ exceeds the limit of 100000000$/);
      assert.match(error.hint ?? "", advice);
      return true;
    });
  });
}

test("readWholeFile is bounded", async (t) => {
  const directory = scratch(t, { x: shardOf("a").subarray(0, 10) });
  assert.equal((await readWholeFile(join(directory, "x"), 10)).length, 10);
  await assert.rejects(
    readWholeFile(join(directory, "x"), 9),
    refusal(/has 10 bytes, more than the limit of 9$/),
  );
  await assert.rejects(readWholeFile(join(directory, "y"), 9), refusal(/\(ENOENT\)$/));
});
