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

type Tensor = { name: string; dtype: string; shape: (number | string)[]; begin: number; end: number };

/** Tensors of odd names and all dtypes that tile their data, with empty ones among them. */
function validTensors(prng: Prng): Tensor[] {
  let end = 0;
  return prng
    .shuffled(names)
    .slice(0, prng.below(5))
    .map((name) => {
      const dtype = prng.pick(dtypes);
      const shape = Array.from({ length: prng.below(4) }, () => prng.pick([0, 1, 2, 4, 8, 3]));
      // Four words of any dtype are whole bytes.
      if (dtypeBits[dtype] < 8) shape.push(4);
      const begin = end;
      end += (shape.reduce((product, size) => product * size, 1) * dtypeBits[dtype]) / 8;
      return { name, dtype, shape, begin, end };
    });
}

/** One thing in a list of tensors that a rule speaks of; some stay valid. */
const changes: readonly ((prng: Prng, tensor: Tensor, all: Tensor[]) => void)[] = [
  (prng, tensor, all) => move(all, tensor, 1 + prng.below(8)),
  (prng, tensor, all) => move(all, tensor, -1 - prng.below(8)),
  (prng, tensor) => Object.assign(tensor, { begin: tensor.begin + prng.below(3) - 1 }),
  (prng, tensor) => Object.assign(tensor, { end: tensor.end + prng.below(3) - 1 }),
  (_, tensor) => Object.assign(tensor, { begin: tensor.end, end: tensor.begin }),
  (prng, tensor) =>
    Object.assign(tensor, { dtype: prng.pick(["f16", "F8", "", "BF16 ", "F4", "F6_E2M3", "U64"]) }),
  // Nothing times anything is nothing, however large that is.
  (prng, tensor) =>
    void tensor.shape.push(
      0,
      prng.pick(["9007199254740991", "9007199254740992", "18446744073709551615", "18446744073709551616"]),
    ),
  (prng, tensor) => void tensor.shape.push(prng.pick(["4294967296", "9007199254740991"]), "4294967296"),
  (prng, tensor) =>
    void tensor.shape.push(
      prng.pick(["1.0", "1e0", "-0", "01", "+1", '"1"', "true", "[1]", "null", "1E0", "-1"]),
    ),
  (prng, tensor, all) =>
    void all.push({ ...tensor, begin: prng.pick([tensor.begin, tensor.end]), end: tensor.end }),
  (prng, tensor, all) =>
    void all.push({
      name: "inside",
      dtype: "U8",
      shape: [0],
      begin: tensor.begin + prng.below(3),
      end: tensor.begin + prng.below(3),
    }),
];

/** Moves a tensor and all behind it, which leaves a hole or an overlap before it. */
function move(all: Tensor[], tensor: Tensor, by: number): void {
  const from = tensor.begin;
  for (const other of all.filter(({ begin }) => begin >= from)) {
    other.begin = Math.max(0, other.begin + by);
    other.end = Math.max(0, other.end + by);
  }
}

/** A header in one of many spellings, and the bytes of data it speaks of; changed in its tensors or fields, or not. */
function header(prng: Prng, changed: boolean): { readonly text: string; readonly dataBytes: number } {
  const tensors = validTensors(prng);
  const before = tensors.at(-1)?.end ?? 0;
  const subject = tensors.length > 0 ? prng.pick(tensors) : undefined;
  const inFields = changed && prng.below(3) === 0;
  if (changed && !inFields && subject) prng.pick(changes)(prng, subject, tensors);
  // A change is found by its own rule only if the file ends where the last tensor does.
  const after = tensors.reduce((end, tensor) => Math.max(end, tensor.end), 0);
  const dataBytes = prng.below(2) === 0 ? before : after;
  const space = (): string => prng.pick(["", "", "", " ", "\n\t"]);
  const members = tensors.map(({ name, dtype, shape, begin, end }, i) => {
    const fields = [
      `"dtype":${space()}"${dtype}"`,
      `"shape":[${shape.join(`,${space()}`)}]`,
      `"data_offsets":[${begin},${end}]`,
    ];
    if (inFields && i === 0) changeFields(prng, fields);
    return `"${name}":${space()}{${prng.shuffled(fields).join(`${space()},`)}}`;
  });
  if (prng.below(2) === 0)
    members.unshift(`"__metadata__":{${prng.pick(["", '"format":"pt"', '"__proto__":"x","a":""'])}}`);
  if (inFields && members.length > 0 && prng.below(4) === 0)
    members.push(prng.pick(members), prng.pick(['"__metadata__":{"a":1}', '"__metadata__":[]', '"x":null']));
  const text = `{${prng.shuffled(members).join(`,${space()}`)}}${" ".repeat(prng.below(9))}`;
  return { text, dataBytes };
}

/** Doubles, drops or adds a field, or spells its key otherwise. */
function changeFields(prng: Prng, fields: string[]): void {
  const at = prng.below(fields.length);
  const field = fields[at] ?? "";
  const respelled = field.replace("a", "\\u0061");
  const kind = prng.below(5);
  if (kind === 0) fields.push(field);
  else if (kind === 1) fields.push(respelled);
  else if (kind === 2) fields.splice(at, 1);
  else if (kind === 3) fields.push(prng.pick(['"extra":0', '"":null', '"__proto__":{}', '"Dtype":"U8"']));
  else fields[at] = respelled;
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
    // Of ten cases one is valid, one noise, four are changed by a rule, and four anywhere.
    const kind = number % 10;
    const { text, dataBytes } = header(prng, kind > 5);
    const json =
      kind === 1
        ? prng.bytes(prng.below(64))
        : kind === 0 || kind > 5
          ? Buffer.from(text)
          : mutate(prng, text);
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
    const { text, dataBytes } = header(prng, false);
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
