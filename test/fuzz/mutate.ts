import type { Prng } from "../safetensors/prng.ts";

/** Pieces that parsers stumble over, put in at random places. */
const pieces = [
  '"',
  "\\",
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  "0",
  "-",
  "+",
  ".",
  "e",
  "1e400",
  "-0",
  "01",
  "4.0",
  "2e0",
  "0x10",
  "NaN",
  "Infinity",
  "-Infinity",
  "true",
  "null",
  "18446744073709551615",
  "18446744073709551616",
  "9007199254740991",
  "9007199254740992",
  "9007199254740993",
  "4294967296",
  '"__proto__"',
  '"constructor"',
  '"__metadata__"',
  '"dtype"',
  '"shape":[]',
  '"data_offsets":[0,0]',
  '"\\u0061"',
  '"\\ud83d"',
  '"\\ud83d\\ude00"',
  '"\\u0000"',
  "\\u001b[31m",
  "\u0000",
  "\u001b",
  "\u007f",
  "\u00a0",
  "\u2028",
  "\ufeff",
  "😀",
  "..",
  "../",
  "/etc/x",
  "C:\\\\x",
  "nul",
  "a".repeat(300),
  "[".repeat(70),
  "]".repeat(70),
  '{"a":'.repeat(66),
  " ".repeat(9),
  "\t",
  "\n",
  "\r",
  "//x",
  "/**/",
  "''",
  "{}",
  "[]",
  ",,",
] as const;

/** Bytes that are no UTF-8, or only some of the time. */
const oddBytes = [
  [0xff],
  [0xc0, 0xaf],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xe2, 0x82],
  [0x80],
  [0xef, 0xbb, 0xbf],
  [0xf0, 0x9f, 0x98, 0x80],
];

/** The tokens of JSON text, to be dropped, doubled and swapped whole. */
const token = /"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s"[\]{}:,]+/g;

/** Changes text a little, once to four times. */
export function mutate(prng: Prng, text: string): Uint8Array {
  let bytes: Uint8Array = Buffer.from(prng.below(10) === 0 ? nested(prng, text) : text);
  for (let left = 1 + prng.below(4); left > 0; left--)
    bytes = prng.below(3) === 0 ? mutateBytes(prng, bytes) : mutateTokens(prng, bytes);
  return bytes;
}

/** With a member of about as many levels as are allowed. */
function nested(prng: Prng, text: string): string {
  const levels = 61 + prng.below(5);
  const value =
    prng.below(2) === 0
      ? "[".repeat(levels) + "]".repeat(levels)
      : `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
  return text.replace("{", `{"deep":${value},`);
}

function mutateTokens(prng: Prng, bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString();
  const tokens = [...text.matchAll(token)];
  const at = tokens[prng.below(tokens.length || 1)];
  if (at === undefined) return Buffer.from(prng.pick(pieces));
  const other = tokens[prng.below(tokens.length)] ?? at;
  const replace = (by: string): Uint8Array =>
    Buffer.from(text.slice(0, at.index) + by + text.slice(at.index + at[0].length));
  switch (prng.below(8)) {
    case 0:
      return replace("");
    case 1:
      return replace(at[0] + at[0]);
    case 2:
      return replace(other[0]);
    case 3:
      return replace(prng.pick(pieces));
    case 4:
      return replace(/^-?\d+$/.test(at[0]) ? String(BigInt(at[0]) + BigInt(prng.below(3) - 1)) : `${at[0]} `);
    case 5:
      return replace(at[0].startsWith('"') ? escaped(prng, at[0]) : `\n${at[0]}`);
    case 6: {
      // A member or item once more, somewhere.
      const piece = text.slice(Math.min(at.index, other.index), Math.max(at.index, other.index));
      const where = prng.below(text.length + 1);
      return Buffer.from(text.slice(0, where) + piece.slice(0, 200) + text.slice(where));
    }
    default:
      return replace(
        /^\d+$/.test(at[0])
          ? String(prng.pick([0, 1, 2, 8, 255, 65_536, 2 ** 32, 2 ** 53, 2 ** 63]))
          : other[0],
      );
  }
}

/** A letter of a string as \u escape: the same text in another spelling. */
function escaped(prng: Prng, literal: string): string {
  const at = 1 + prng.below(Math.max(1, literal.length - 2));
  const code = literal.charCodeAt(at);
  if (literal[at] === "\\" || literal[at - 1] === "\\" || at >= literal.length - 1) return literal;
  return `${literal.slice(0, at)}\\u${code.toString(16).padStart(4, "0")}${literal.slice(at + 1)}`;
}

function mutateBytes(prng: Prng, bytes: Uint8Array): Uint8Array {
  const at = prng.below(bytes.length + 1);
  const insert = (piece: Uint8Array): Uint8Array =>
    Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
  switch (prng.below(6)) {
    case 0:
      return insert(Buffer.from(prng.pick(oddBytes)));
    case 1:
      return insert(prng.bytes(1 + prng.below(4)));
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + prng.below(8))]);
    case 3:
      return bytes.subarray(0, at);
    case 4:
      return insert(Buffer.from(prng.pick(pieces)));
    default: {
      const changed = Uint8Array.from(bytes);
      if (at < changed.length) changed[at] = (changed[at] ?? 0) ^ (1 << prng.below(8));
      return changed;
    }
  }
}
