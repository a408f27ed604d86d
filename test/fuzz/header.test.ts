import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FormatError } from "../../src/errors.ts";
import { dtypeBits, dtypes } from "../../src/safetensors/dtype.ts";
import type { SafetensorsHeader } from "../../src/safetensors/header.ts";
import { parseHeader } from "../../src/safetensors/header.ts";
import { openShard } from "../../src/safetensors/reader.ts";
import type { Prng } from "../safetensors/prng.ts";
import { agree, fuzz, verdict } from "./cases.ts";
import { mutate } from "./mutate.ts";
import type { SlowHeader } from "./slow-header.ts";
import { slowHeader } from "./slow-header.ts";

const names = [
  "a",
  "b.weight",
  "__proto__",
  "constructor",
  "toString",
  "",
  "é",
  "😀",
  "a\\u001b[31m",
  "\\\\",
  '\\"',
  "x".repeat(40),
  "__metadata",
];

/** A valid header with odd names and all dtypes, in one of many spellings, and the bytes of data it speaks of. */
function validHeader(prng: Prng): { readonly text: string; readonly dataBytes: number } {
  let end = 0;
  const space = (): string => prng.pick(["", "", "", " ", "\n\t"]);
  const members = prng
    .shuffled(names)
    .slice(0, prng.below(5))
    .map((name) => {
      const dtype = prng.pick(dtypes);
      const shape = Array.from({ length: prng.below(4) }, () => prng.pick([0, 1, 2, 4, 8, 3]));
      // Four words of any dtype are whole bytes.
      if (dtypeBits[dtype] < 8) shape.push(4);
      const begin = end;
      end += (shape.reduce((product, size) => product * size, 1) * dtypeBits[dtype]) / 8;
      const fields = prng.shuffled([
        `"dtype":${space()}"${dtype}"`,
        `"shape":[${shape.join(`,${space()}`)}]`,
        `"data_offsets":[${begin},${end}]`,
      ]);
      return `"${name}":${space()}{${fields.join(`${space()},`)}}`;
    });
  if (prng.below(2) === 0)
    members.unshift(`"__metadata__":{${prng.pick(["", '"format":"pt"', '"__proto__":"x","a":""'])}}`);
  const text = `{${prng.shuffled(members).join(`,${space()}`)}}${" ".repeat(prng.below(9))}`;
  return { text, dataBytes: end };
}

/** The same in the words of the slow checker, sorted. */
function canonical({ metadata, tensors }: SafetensorsHeader): unknown {
  return {
    metadata: metadata && [...metadata],
    tensors: sorted(
      tensors.map(({ name, dtype, shape, dataOffsets: [begin, end] }) =>
        [name, dtype, shape.join(), begin, end].join("\n"),
      ),
    ),
  };
}

function canonicalSlow({ metadata, tensors }: SlowHeader): unknown {
  return {
    metadata,
    tensors: sorted(
      tensors.map(({ name, dtype, shape, begin, end }) => [name, dtype, shape.join(), begin, end].join("\n")),
    ),
  };
}

function sorted(lines: readonly string[]): string[] {
  return [...lines].sort();
}

test("headers: what is accepted keeps every rule, and the rest is a FormatError", (t) => {
  const { tried, accepted } = fuzz(0, (prng, number) => {
    const { text, dataBytes } = validHeader(prng);
    const kind = number % 10;
    const json =
      kind === 0 ? Buffer.from(text) : kind === 1 ? prng.bytes(prng.below(64)) : mutate(prng, text);
    const size = prng.below(8) === 0 ? Math.max(0, dataBytes + prng.below(3) - 1) : dataBytes;
    const both = agree(
      verdict(() => parseHeader(json, size, "f")),
      verdict(() => slowHeader(json, size)),
      json,
    );
    if (kind === 0 && size === dataBytes) assert.ok(both, `a valid header is refused: ${text}`);
    if (both === undefined) return false;
    assert.deepEqual(canonical(both.ours), canonicalSlow(both.slow));
    assert.equal(both.ours.byName.size, both.slow.tensors.length);
    return true;
  });
  t.diagnostic(`${tried} cases, ${accepted} accepted`);
  assert.ok(
    accepted >= tried / 20 && accepted < tried / 2,
    `${accepted} accepted: the mutations are too tame or too wild`,
  );
});

test("files: the length in front, the end, and everything between", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "nestedfp-fuzz-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const files: { readonly path: string; readonly bytes: Uint8Array }[] = [];
  fuzz(1, (prng, number) => {
    // Files are slow: a case in a hundred.
    if (number % 100 !== 0) return false;
    const { text, dataBytes } = validHeader(prng);
    const json = prng.below(3) === 0 ? Buffer.from(text) : mutate(prng, text);
    const length = Buffer.alloc(8);
    const claimed = prng.pick([0n, 0n, 0n, 1n, -1n, 100_000_000n, 2n ** 40n, 2n ** 63n]);
    length.writeBigUInt64LE(BigInt.asUintN(64, BigInt(json.length) + claimed));
    const whole = Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
    const bytes = prng.below(4) === 0 ? whole.subarray(0, prng.below(whole.length + 1)) : whole;
    const path = join(directory, `${number}.safetensors`);
    writeFileSync(path, bytes);
    files.push({ path, bytes });
    return true;
  });
  let accepted = 0;
  for (const { path, bytes } of files) {
    const ours = await openShard(path).then(
      async (shard) => {
        await shard.close();
        return { value: shard.header };
      },
      (error: unknown) => ({ error }),
    );
    if ("error" in ours) assert.ok(ours.error instanceof FormatError, String(ours.error));
    const slow = verdict(() => slowFile(bytes));
    if (agree(ours, slow, bytes)) accepted++;
  }
  t.diagnostic(`${files.length} files, ${accepted} accepted`);
  assert.ok(accepted > 0 && accepted < files.length);
});

/** The first rules of FORMAT.md §9, on a whole file. */
function slowFile(bytes: Uint8Array): SlowHeader {
  const length = bytes.length < 8 ? undefined : Buffer.from(bytes).readBigUInt64LE();
  // As slowHeader refuses: an empty header begins with no brace.
  if (length === undefined || length > 100_000_000n || length > BigInt(bytes.length - 8))
    return slowHeader(new Uint8Array(0), 0);
  const end = 8 + Number(length);
  return slowHeader(bytes.subarray(8, end), bytes.length - end);
}
