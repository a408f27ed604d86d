import assert from "node:assert/strict";
import { test } from "node:test";

import { FormatError } from "../../src/errors.ts";
import { findMember, objectEnd, parseJson, parsePlain, toPlain, uint64 } from "../../src/safetensors/json.ts";
import { Prng } from "./prng.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const plain = (text: string) => toPlain(parseJson(encode(text), "x.json"));

for (const text of [
  "null",
  " [ ] ",
  "\t{\r\n}",
  '{"a":{"b":[1,-2.5,3e2,0,-0,1E-7,true,false,null]},"":"" }',
  '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\\uD83D\\uDE00 é 😀 \x7f"',
  "[".repeat(64) + "]".repeat(64),
  `[${"{},[],".repeat(100)}[]]`,
]) {
  test(`parses ${text.slice(0, 40)} as JSON.parse does`, () => {
    // Through text, as toPlain's objects have no prototype.
    assert.equal(JSON.stringify(plain(text)), JSON.stringify(JSON.parse(text)));
  });
}

test("the python dialect takes the numbers that JSON has no words for, and nothing else", () => {
  const python = (text: string) => toPlain(parseJson(encode(text), "config.json", "python"));
  assert.deepEqual(python("[NaN, Infinity,-Infinity,\n-1e3, 0]"), [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    -1000,
    0,
  ]);
  for (const [text, problem] of [
    ["-NaN", 'expected a digit, found "N" at byte 1'],
    ["Inf", 'expected a value, found "I" at byte 0'],
    ["nan", 'expected "null", found "a" at byte 1'],
    ["Infinity0", 'expected nothing more, found "0" at byte 8'],
  ] as const) {
    assert.throws(() => python(text), { message: `"config.json": ${problem}` });
  }
  const document = encode('{"a": Infinity, "b": NaN}');
  const b = findMember(document, "b", "config.json", "python");
  assert.deepEqual([b?.valueStart, b?.valueEnd], [21, 24]);
  assert.equal(objectEnd(document, "config.json", "python").contentEnd, 24);
  assert.throws(() => findMember(document, "b"), { message: /found "I" at byte 6/ });
});

for (const [text, problem] of [
  ["", "expected a value, found the end at byte 0"],
  ["01", 'expected nothing more, found "1" at byte 1'],
  ["-", "expected a digit, found the end at byte 1"],
  [".5", 'expected a value, found "." at byte 0'],
  ["1.", "expected a digit, found the end at byte 2"],
  ["1e+", "expected a digit, found the end at byte 3"],
  ["Infinity", 'expected a value, found "I" at byte 0'],
  ["truE", 'expected "true", found "E" at byte 3'],
  ["[1,]", 'expected a value, found "]" at byte 3'],
  ["[1 2]", 'expected "," or "]", found "2" at byte 3'],
  ['{"a":1,"\\u0061":2}', 'duplicate key "a" at byte 7'],
  ['[{"a":{"b":1,"b":1}}]', 'duplicate key "b" at byte 13'],
  ['"\\ud83d\\n"', "lone surrogate in a string at byte 1"],
  ['"\\ud83d\\ud83d"', "lone surrogate in a string at byte 1"],
  ['"\\udc00\\udc00"', "lone surrogate in a string at byte 1"],
  ['"\x1f"', "unescaped control character byte 0x1f in a string at byte 1"],
  ['"\\u00g0"', "invalid \\u escape in a string at byte 1"],
  ['"\\', "invalid escape in a string at byte 1"],
  ['"\\u00', "invalid \\u escape in a string at byte 1"],
  ['"a\tb"', "unescaped control character byte 0x09 in a string at byte 2"],
  ['"\\n\t"', "unescaped control character byte 0x09 in a string at byte 3"],
  ['"\\n', "unterminated string at byte 3"],
  ["\u00a01", "expected a value, found byte 0xc2 at byte 0"],
  ["\ufeff1", "a byte order mark, which JSON does not allow, at byte 0"],
  ["1 \0", "expected nothing more, found byte 0x00 at byte 2"],
  ["[".repeat(65), "more than 64 levels of nesting at byte 64"],
] as const) {
  test(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
    assert.throws(
      () => parseJson(encode(text), "x.json"),
      (error) => error instanceof FormatError && error.message === `"x.json": ${problem}`,
    );
  });
}

test("refuses more values than memory should hold", () => {
  const bytes = new Uint8Array(8_000_004).fill(0x30);
  for (let i = 2; i < bytes.length; i += 2) bytes[i] = 0x2c;
  bytes[0] = 0x5b;
  bytes[bytes.length - 1] = 0x5d;
  assert.throws(() => parseJson(bytes, "x.json"), /more than 4000000 values/);
});

test("keeps numbers as they were written", () => {
  assert.deepEqual(parseJson(encode("[18446744073709551615,4.0]"), "x"), [
    { text: "18446744073709551615" },
    { text: "4.0" },
  ]);
});

test("treats __proto__ and constructor as plain keys", () => {
  const value = plain('{"__proto__":{"polluted":1},"constructor":2}');
  assert.ok(value !== null && typeof value === "object" && !Array.isArray(value));
  assert.equal(Object.getPrototypeOf(value), null);
  assert.deepEqual(Object.keys(value), ["__proto__", "constructor"]);
  assert.equal(Reflect.get({}, "polluted"), undefined);
});

test("uint64 takes integers below 2^64 and nothing else", () => {
  assert.equal(uint64("0"), 0n);
  assert.equal(uint64("18446744073709551615"), (1n << 64n) - 1n);
  for (const literal of ["18446744073709551616", "-0", "-1", "1.0", "1e2", "01", "", "9".repeat(1e6)]) {
    assert.equal(uint64(literal), undefined, literal.slice(0, 30));
  }
});

test("findMember gives byte spans of the top level only", () => {
  const text = '{ "é": {"k": 1}, "k" : [1, {"k":2}] , "z": "}" }';
  const bytes = encode(text);
  const span = findMember(bytes, "k");
  assert.ok(span);
  const slice = (start: number, end: number) => new TextDecoder().decode(bytes.subarray(start, end));
  assert.equal(slice(span.keyStart, span.keyStart + 3), '"k"');
  assert.equal(slice(span.valueStart, span.valueEnd), '[1, {"k":2}]');
  assert.equal(findMember(bytes, "absent"), undefined);
  const end = objectEnd(bytes);
  assert.deepEqual(end, { offset: bytes.length - 1, empty: false, contentEnd: bytes.length - 2 });
});

test("findMember finds an escaped key", () => {
  assert.deepEqual(findMember(encode('{"\\u006b":1}'), "k"), { keyStart: 1, valueStart: 10, valueEnd: 11 });
});

test("objectEnd tells an empty object", () => {
  assert.deepEqual(objectEnd(encode(" { } \n")), { offset: 3, empty: true, contentEnd: 2 });
});

test("editing documents that are no object is refused", () => {
  assert.throws(
    () => objectEnd(encode("[]"), "config.json"),
    /^FormatError: "config.json": expected a JSON object, found array$/,
  );
  assert.throws(
    () => findMember(encode('{"a":1} x'), "a", "config.json"),
    /expected nothing more, found "x"/,
  );
});

test("agrees with JSON.parse on random mutations of a document", () => {
  const random = new Prng(1);
  const seed = '{"a":[1,-2.5e+3,{"b":"\\u00e9\\n"}],"c":null,"d":{"e":[true,false]}} ';
  const alphabet = '{}[]",:\\ \n0123456789-+.eEtfnu\x00x';
  let refusedByUs = 0;
  for (let round = 0; round < 20_000; round++) {
    let text = seed;
    for (let edit = random.below(3); edit >= 0; edit--) {
      const at = random.below(text.length);
      text =
        text.slice(0, at) + alphabet.charAt(random.below(alphabet.length)) + text.slice(at + random.below(2));
    }
    const [ours, theirs] = [() => plain(text), () => JSON.parse(text)].map((parse) => {
      try {
        return JSON.stringify(parse());
      } catch (error) {
        return error instanceof FormatError || error instanceof SyntaxError
          ? error
          : assert.fail(String(error));
      }
    });
    if (ours instanceof FormatError && typeof theirs === "string") {
      assert.match(ours.message, /duplicate key/, text);
      refusedByUs++;
    } else if (typeof ours === "string") {
      assert.equal(ours, theirs, text);
    }
  }
  assert.ok(refusedByUs < 100);
});

test("parsePlain refuses what parseJson refuses, and gives the same values", () => {
  const bytes = (text: string) => Buffer.from(text);
  const text = '{"__proto__": {"a": [1, -2.5e3, true, null, "\\u00e9"]}, "b": {}}';
  const plain = parsePlain(bytes(text), "doc");
  assert.deepEqual(structuredClone(plain), structuredClone(toPlain(parseJson(bytes(text), "doc"))));
  assert.ok(Object.hasOwn(plain as object, "__proto__"));
  for (const bad of [
    '{"a": 1, "a": 2}',
    "[1,]",
    '{"a": 01}',
    "{} x",
    '"\\ud800"',
    `${"[".repeat(65)}${"]".repeat(65)}`,
  ]) {
    const refusal = (parse: (bytes: Uint8Array, what: string) => unknown) => {
      try {
        return assert.fail(`${parse(bytes(bad), "doc")}`);
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.equal(refusal(parsePlain), refusal(parseJson), bad);
  }
});
