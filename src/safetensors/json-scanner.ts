import { isUtf8 } from "node:buffer";

import { FormatError } from "../errors.ts";
import { quote } from "./quote.ts";

/**
 * `python` also takes NaN, Infinity and -Infinity for numbers, as Python's json writes and reads them: transformers
 * does so in config.json, and in no other file.
 */
export type JsonDialect = "strict" | "python";

export type JsonKind = "object" | "array" | "string" | "number" | "true" | "false" | "null";

/** Deeper documents are refused, so recursion over a document is bounded. */
const maxDepth = 64;

/**
 * A strict RFC 8259 scanner that the reader of a document drives: look at `kind()`, then take that value.
 * It builds nothing on its own, so memory is what the reader keeps: a hostile 100 MB header costs no more than
 * its first wrong value. JSON.parse would keep the last of duplicate keys, round integers above 2^53, take
 * `4.0` for 4, and needs the whole text as one string.
 *
 * Refused, as a FormatError with the byte offset: invalid UTF-8, a byte order mark, a lone surrogate (also as
 * an escape), duplicate keys in any object, more than 64 levels, anything after the document.
 */
export class JsonScanner {
  readonly #bytes: Buffer;
  readonly #file: string;
  readonly #part: string;
  readonly #dialect: JsonDialect;
  #at = 0;
  #depth = 0;

  /** @param part where byte offsets count from, as words to follow them: "of the header". */
  constructor(bytes: Uint8Array, file: string, part = "", dialect: JsonDialect = "strict") {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
    this.#part = part === "" ? "" : ` ${part}`;
    this.#dialect = dialect;
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
      throw this.fail("a byte order mark, which JSON does not allow,", 0);
    }
  }

  /** Offset of the first byte that is not taken yet. */
  get offset(): number {
    return this.#at;
  }

  /** The kind of the value that comes next, white space skipped; the value itself is not taken. */
  kind(): JsonKind {
    const byte = this.#peek();
    const kind = kinds[byte] ?? (this.#nonFinite() === undefined ? undefined : "number");
    if (kind === undefined) throw this.#unexpected("a value");
    return kind;
  }

  /** Takes an object. `visit` must take exactly the value of the key it is given. */
  object(visit: (key: string, keyStart: number) => void): void {
    const seen = new Set<string>();
    this.#open(openBrace);
    for (let more = !this.#closes(closeBrace); more; more = this.#continues(closeBrace)) {
      if (this.#peek() !== doubleQuote) throw this.#unexpected("a key");
      const keyStart = this.#at;
      const key = this.string();
      if (seen.has(key)) throw this.fail(`duplicate key ${quote(key)}`, keyStart);
      seen.add(key);
      if (this.#peek() !== colon) throw this.#unexpected('":"');
      this.#at++;
      visit(key, keyStart);
    }
  }

  /** Takes an array. `visit` must take exactly one item. */
  array(visit: () => void): void {
    this.#open(openBracket);
    for (let more = !this.#closes(closeBracket); more; more = this.#continues(closeBracket)) visit();
  }

  /** Takes a string and returns its decoded text. */
  string(): string {
    this.#expect(doubleQuote, "a string");
    const start = this.#at + 1;
    const bytes = this.#bytes;
    let at = start;
    let ascii = true;
    for (; ; at++) {
      const byte = bytes[at] ?? -1;
      if (byte === doubleQuote) break;
      if (byte === backslash) return this.#stringWithEscapes(start, at);
      if (byte < 0x20) throw this.#badInString(at);
      if (byte > 0x7f) ascii = false;
    }
    this.#at = at + 1;
    return ascii ? bytes.toString("latin1", start, at) : this.#utf8(start, at);
  }

  /** Takes a number and returns its literal text, so that nothing is rounded. */
  number(): string {
    if (this.kind() !== "number") throw this.#unexpected("a number");
    const start = this.#at;
    const nonFinite = this.#nonFinite();
    if (nonFinite !== undefined) {
      this.#at += nonFinite.length;
      return nonFinite;
    }
    if (this.#bytes[this.#at] === minus) this.#at++;
    // A leading zero ends the integer: the caller then finds the second digit of `01` where a comma belongs.
    if (this.#bytes[this.#at] === zero) this.#at++;
    else this.#digits();
    if (this.#bytes[this.#at] === dot) {
      this.#at++;
      this.#digits();
    }
    if (((this.#bytes[this.#at] ?? 0) | 0x20) === lowerE) {
      this.#at++;
      const sign = this.#bytes[this.#at];
      if (sign === plus || sign === minus) this.#at++;
      this.#digits();
    }
    return this.#bytes.toString("latin1", start, this.#at);
  }

  /** Takes true, false or null. */
  literal(): boolean | null {
    const kind = this.kind();
    if (kind !== "true" && kind !== "false" && kind !== "null") throw this.#unexpected("true, false or null");
    for (let i = 0; i < kind.length; i++, this.#at++) {
      if (this.#bytes[this.#at] !== kind.charCodeAt(i)) throw this.#unexpected(`"${kind}"`);
    }
    return kind === "null" ? null : kind === "true";
  }

  /** Checks that only white space is left. */
  end(): void {
    if (this.#peek() !== -1) throw this.#unexpected("nothing more");
  }

  /** The error to throw for `problem`, with the file's name and the byte offset. */
  fail(problem: string, at = this.#at): FormatError {
    return new FormatError(`${quote(this.#file)}: ${problem} at byte ${at}${this.#part}`, {
      hint: "the file is damaged or was not written as strict JSON: download or export it again",
    });
  }

  #peek(): number {
    for (; ; this.#at++) {
      const byte = this.#bytes[this.#at] ?? -1;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
    }
  }

  #expect(byte: number, what: string): void {
    if (this.#peek() !== byte) throw this.#unexpected(what);
  }

  #open(bracket: number): void {
    this.#expect(bracket, `"${String.fromCharCode(bracket)}"`);
    if (++this.#depth > maxDepth) throw this.fail(`more than ${maxDepth} levels of nesting`);
    this.#at++;
  }

  /** Takes the closing bracket if it comes next. */
  #closes(bracket: number): boolean {
    if (this.#peek() !== bracket) return false;
    this.#depth--;
    this.#at++;
    return true;
  }

  /** Takes what follows a member or item: true for a comma, false for the closing bracket. */
  #continues(bracket: number): boolean {
    if (this.#closes(bracket)) return false;
    if (this.#peek() !== comma) throw this.#unexpected(`"," or "${String.fromCharCode(bracket)}"`);
    this.#at++;
    return true;
  }

  /** The word of a number that is not finite, where one comes next and the dialect has it. */
  #nonFinite(): string | undefined {
    if (this.#dialect === "strict") return undefined;
    return nonFiniteWords.find(
      (word) => this.#bytes.toString("latin1", this.#at, this.#at + word.length) === word,
    );
  }

  #digits(): void {
    const start = this.#at;
    while (isDigit(this.#bytes[this.#at])) this.#at++;
    if (this.#at === start) throw this.#unexpected("a digit");
  }

  #stringWithEscapes(start: number, firstEscape: number): string {
    const bytes = this.#bytes;
    const pieces: string[] = [this.#utf8(start, firstEscape)];
    let plain = firstEscape;
    let at = firstEscape;
    for (;;) {
      const byte = bytes[at] ?? -1;
      if (byte < 0x20) throw this.#badInString(at);
      if (byte !== doubleQuote && byte !== backslash) {
        at++;
        continue;
      }
      if (at > plain) pieces.push(this.#utf8(plain, at));
      if (byte === doubleQuote) break;
      const simple = simpleEscapes.get(bytes[at + 1] ?? -1);
      if (simple !== undefined) {
        pieces.push(simple);
        at += 2;
      } else if (bytes[at + 1] === lowerU) {
        const text = this.#unicodeEscape(at);
        pieces.push(text);
        at += 6 * text.length;
      } else {
        throw this.fail("invalid escape in a string", at);
      }
      plain = at;
    }
    this.#at = at + 1;
    return pieces.join("");
  }

  /** One \uXXXX, or two that are a surrogate pair; a surrogate alone is no character and is refused. */
  #unicodeEscape(at: number): string {
    const first = this.#hex4(at + 2);
    if (first < 0xd800 || first > 0xdfff) return String.fromCharCode(first);
    if (first < 0xdc00 && this.#bytes[at + 6] === backslash && this.#bytes[at + 7] === lowerU) {
      const second = this.#hex4(at + 8);
      if (second >= 0xdc00 && second <= 0xdfff) return String.fromCharCode(first, second);
    }
    throw this.fail("lone surrogate in a string", at);
  }

  #hex4(at: number): number {
    const digits = this.#bytes.toString("latin1", at, at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.fail("invalid \\u escape in a string", at - 2);
    return Number.parseInt(digits, 16);
  }

  #utf8(start: number, end: number): string {
    const piece = this.#bytes.subarray(start, end);
    if (!isUtf8(piece)) throw this.fail("invalid UTF-8 in the string that starts", start);
    return piece.toString();
  }

  #badInString(at: number): FormatError {
    return at >= this.#bytes.length
      ? this.fail("unterminated string", at)
      : this.fail(`unescaped control character ${this.#describe(at)} in a string`, at);
  }

  #unexpected(expected: string): FormatError {
    return this.fail(`expected ${expected}, found ${this.#describe(this.#at)}`);
  }

  #describe(at: number): string {
    const byte = this.#bytes[at];
    if (byte === undefined) return "the end";
    if (byte > 0x20 && byte < 0x7f) return quote(String.fromCharCode(byte));
    return `byte 0x${byte.toString(16).padStart(2, "0")}`;
  }
}

const nonFiniteWords = ["NaN", "Infinity", "-Infinity"];

const doubleQuote = 0x22;
const plus = 0x2b;
const comma = 0x2c;
const minus = 0x2d;
const dot = 0x2e;
const zero = 0x30;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const lowerE = 0x65;
const lowerU = 0x75;
const openBrace = 0x7b;
const closeBrace = 0x7d;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** First byte of a value -> its kind. */
const kinds: readonly (JsonKind | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  if (isDigit(byte) || byte === minus) return "number";
  if (byte === doubleQuote) return "string";
  if (byte === openBrace) return "object";
  if (byte === openBracket) return "array";
  return ({ t: "true", f: "false", n: "null" } as const)[String.fromCharCode(byte)];
});

const simpleEscapes: ReadonlyMap<number, string> = new Map(
  ['""', "\\\\", "//", "b\b", "f\f", "n\n", "r\r", "t\t"].map((pair) => [pair.charCodeAt(0), pair.slice(1)]),
);
