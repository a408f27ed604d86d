import { FormatError } from "../errors.ts";
import type { JsonDialect } from "./json-scanner.ts";
import { JsonScanner } from "./json-scanner.ts";
import { quote } from "./quote.ts";

/** A number as it was written: 64-bit integers stay exact, and `4.0` is told from `4`. */
export type JsonNumber = { readonly text: string };

export type JsonValue = null | boolean | string | JsonNumber | JsonValue[] | Map<string, JsonValue>;

/** The same value in plain JS: objects without a prototype, so that `__proto__` is a key like any other. */
export type PlainJson = null | boolean | number | string | PlainJson[] | { [key: string]: PlainJson };

/** Where one member of the top-level object lies: byte offsets, `valueEnd` is one past the value. */
export type MemberSpan = {
  readonly keyStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
};

/** Where a top-level object ends. */
export type ObjectEnd = {
  /** Offset of the final `}`. */
  readonly offset: number;
  readonly empty: boolean;
  /** One past the last value, or one past `{` when empty: where a new last member goes. */
  readonly contentEnd: number;
};

/** A value takes up to about 200 bytes of memory for 3 bytes of JSON (`{},`), so their number is bounded too. */
const maxValues = 4_000_000;

/**
 * Parses a strict JSON document (see {@link JsonScanner} for what is refused) of up to 4 million values.
 * @param what the file's name, for errors
 * @throws FormatError with the byte offset
 */
export function parseJson(bytes: Uint8Array, what: string, dialect: JsonDialect = "strict"): JsonValue {
  const scanner = new JsonScanner(bytes, what, "", dialect);
  const value = parseValue(scanner);
  scanner.end();
  return value;
}

/** Takes the value that comes next from a scanner, as a tree. */
export function parseValue(scanner: JsonScanner): JsonValue {
  let values = 0;
  return parse();

  function parse(): JsonValue {
    if (++values > maxValues) throw scanner.fail(`more than ${maxValues} values`);
    switch (scanner.kind()) {
      case "object": {
        const members = new Map<string, JsonValue>();
        scanner.object((key) => members.set(key, parse()));
        return members;
      }
      case "array": {
        const items: JsonValue[] = [];
        scanner.array(() => items.push(parse()));
        return items;
      }
      case "string":
        return scanner.string();
      case "number":
        return { text: scanner.number() };
      default:
        return scanner.literal();
    }
  }
}

/**
 * As `toPlain(parseJson(...))`, for documents of tens of MB: the strict scanner only checks, and V8 builds the values
 * with a fraction of the memory. Objects have the usual prototype; `__proto__` is a member like any other.
 *
 * @throws as {@link parseJson}
 */
export function parsePlain(bytes: Uint8Array, what: string): PlainJson {
  const scanner = new JsonScanner(bytes, what);
  checkValue(scanner);
  scanner.end();
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
}

function checkValue(scanner: JsonScanner): void {
  switch (scanner.kind()) {
    case "object":
      scanner.object(() => checkValue(scanner));
      break;
    case "array":
      scanner.array(() => checkValue(scanner));
      break;
    case "string":
      scanner.string();
      break;
    case "number":
      scanner.number();
      break;
    default:
      scanner.literal();
  }
}

/** Converts a parsed value to plain JS; numbers become the nearest double. */
export function toPlain(value: JsonValue): PlainJson {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(toPlain);
  if (!(value instanceof Map)) return Number(value.text);
  const object: { [key: string]: PlainJson } = Object.create(null);
  for (const [key, member] of value) object[key] = toPlain(member);
  return object;
}

/** The value of an unsigned 64-bit integer literal, `0|[1-9][0-9]*` below 2^64, or undefined for any other. */
export function uint64(literal: string): bigint | undefined {
  // The length check keeps BigInt from chewing on a literal of megabytes.
  if (literal.length > 20 || !/^(?:0|[1-9][0-9]*)$/.test(literal)) return undefined;
  const value = BigInt(literal);
  return value < 1n << 64n ? value : undefined;
}

/**
 * Finds a member of a document's top-level object, so that it can be edited without touching any other byte.
 * @throws FormatError when the document is not strict JSON or not an object
 */
export function findMember(
  bytes: Uint8Array,
  key: string,
  what = "document",
  dialect: JsonDialect = "strict",
): MemberSpan | undefined {
  let found: MemberSpan | undefined;
  scanTopLevel(bytes, what, dialect, (name, span) => {
    if (name === key) found = span;
  });
  return found;
}

/** Finds the end of a document's top-level object. @throws as {@link findMember} */
export function objectEnd(bytes: Uint8Array, what = "document", dialect: JsonDialect = "strict"): ObjectEnd {
  let last: MemberSpan | undefined;
  const { start, end } = scanTopLevel(bytes, what, dialect, (_, span) => {
    last = span;
  });
  return { offset: end - 1, empty: last === undefined, contentEnd: spanEnd(last) ?? start + 1 };
}

/** Typed by its argument, as a variable that only a callback assigns is seen as undefined. */
function spanEnd(span: MemberSpan | undefined): number | undefined {
  return span?.valueEnd;
}

function scanTopLevel(
  bytes: Uint8Array,
  what: string,
  dialect: JsonDialect,
  visit: (key: string, span: MemberSpan) => void,
): { start: number; end: number } {
  const scanner = new JsonScanner(bytes, what, "", dialect);
  if (scanner.kind() !== "object") {
    throw new FormatError(`${quote(what)}: expected a JSON object, found ${scanner.kind()}`, {
      hint: "the file is damaged or is another file under this name",
    });
  }
  const start = scanner.offset;
  scanner.object((key, keyStart) => {
    scanner.kind(); // skips the white space before the value
    const valueStart = scanner.offset;
    parseValue(scanner);
    visit(key, { keyStart, valueStart, valueEnd: scanner.offset });
  });
  const end = scanner.offset;
  scanner.end();
  return { start, end };
}
