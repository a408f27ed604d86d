import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { kernelsFingerprint } from "../../src/native/kernels-fingerprint.ts";
import { scratchDirectory } from "../convert/scratch.ts";

test("the fingerprint is of the names and the bytes of the cubins, and of nothing else", async (t) => {
  const folder = await scratchDirectory(t);
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write("b.cubin", "two");
  write("a.cubin", "one");
  const first = await kernelsFingerprint(folder);
  assert.match(first, /^[0-9a-f]{12}$/);
  write("a.d", "what nvcc read");
  assert.equal(await kernelsFingerprint(folder), first);
  write("a.cubin", "oNe");
  assert.notEqual(await kernelsFingerprint(folder), first);
  write("a.cubin", "one");
  assert.equal(await kernelsFingerprint(folder), first);
  renameSync(join(folder, "a.cubin"), join(folder, "c.cubin"));
  assert.notEqual(await kernelsFingerprint(folder), first);
});
