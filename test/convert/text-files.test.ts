import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { withDtype, withMember } from "../../src/convert/config-text.ts";
import { parseSums, sumsText } from "../../src/convert/sums.ts";
import { indexText } from "../../src/convert/weight-index.ts";
import { FormatError } from "../../src/errors.ts";
import { sha256 } from "./checkpoints.ts";
import { scratchDirectory } from "./scratch.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

test("a member is set in a configuration, and every other byte stays", () => {
  const odd = '{ "eps" : 1e-05,\t"theta":500000.0 , "nested":{"key":1, "dtype":"x"}}\n';
  const added = text(withMember(Buffer.from(odd), "key", { a: [1] }));
  assert.deepEqual(JSON.parse(added), { ...JSON.parse(odd), key: { a: [1] } });
  assert.ok(added.startsWith(odd.slice(0, odd.lastIndexOf("}"))));
  const replaced = text(
    withMember(Buffer.from('{"a": 1e3, "key" : [1, {"b":2}] ,"c":"é\\u0041"}'), "key", null),
  );
  assert.equal(replaced, '{"a": 1e3, "key" : null ,"c":"é\\u0041"}');
  assert.deepEqual(JSON.parse(text(withMember(Buffer.from(" {} "), "key", 1))), { key: 1 });
  assert.deepEqual(JSON.parse(text(withMember(Buffer.from('{"k\\u0065y": 1}'), "key", 2))), { key: 2 });
});

test("the dtype is set under the name that a configuration uses", () => {
  const of = (config: string): unknown => JSON.parse(text(withDtype(Buffer.from(config), "float16")));
  assert.deepEqual(of('{"torch_dtype": "bfloat16"}'), { torch_dtype: "float16" });
  assert.deepEqual(of('{"dtype": "bfloat16"}'), { dtype: "float16" });
  assert.deepEqual(of('{"dtype": null, "torch_dtype": "bfloat16"}'), {
    dtype: "float16",
    torch_dtype: "float16",
  });
  assert.deepEqual(of('{"text_config": {"dtype": "x"}}'), { text_config: { dtype: "x" }, dtype: "float16" });
});

const oddNames = [
  "plain.txt",
  "two  blanks",
  " leading",
  "*star",
  "back\\slash",
  "line\nbreak",
  "carriage\rreturn",
  "\\n",
  "ünïcode 𝔞",
];

test("sha256sum reads SHA256SUMS, whatever the names", async (t) => {
  const directory = await scratchDirectory(t);
  for (const name of oddNames) writeFileSync(join(directory, name), name);
  const sums = oddNames.map((path) => ({ path, sha256: sha256(Buffer.from(path)) }));
  writeFileSync(join(directory, "SUMS"), sumsText(sums));
  const checked = execFileSync("sha256sum", ["--check", "--strict", "SUMS"], {
    cwd: directory,
    encoding: "utf8",
  });
  assert.equal(checked.match(/: OK$/gm)?.length, oddNames.length);
  assert.deepEqual(parseSums(sumsText(sums)), sums);

  const written = execFileSync("sha256sum", ["--", ...oddNames], { cwd: directory, encoding: "utf8" });
  assert.deepEqual(parseSums(written), sums, "and what sha256sum writes is read");
});

test("a line of SHA256SUMS that is none is named by its number", () => {
  const good = `${"0".repeat(64)}  a\n`;
  for (const bad of [
    "garbage",
    `${"0".repeat(63)}  a`,
    `${"0".repeat(64)} a`,
    `${"G".repeat(64)}  a`,
    `${"0".repeat(64)}  `,
  ]) {
    assert.throws(
      () => parseSums(`${good}${bad}\n`),
      (error) => error instanceof FormatError && /line 2 is not a sha256sum line/.test(error.message),
      bad,
    );
  }
});

test("an index is sorted by name and keeps names that an object would not", () => {
  const tensor = (name: string) => ({ name, dtype: "F16", shape: [2, 3] }) as const;
  const written = indexText([
    { file: "b", tensors: [tensor("10"), tensor("a")] },
    { file: "a", tensors: [tensor("9"), tensor("__proto__"), tensor('q"uote')] },
  ]);
  assert.deepEqual(
    [...written.matchAll(/^ {4}"(.*)": "(.)"/gm)].map(([, name, file]) => [name, file]),
    [
      ["10", "b"],
      ["9", "a"],
      ["__proto__", "a"],
      ["a", "b"],
      ['q\\"uote', "a"],
    ],
  );
  assert.equal(JSON.parse(written).metadata.total_size, 5 * 12);
});
