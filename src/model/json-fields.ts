import { FormatError } from "../errors.ts";
import { type JsonValue, parseJson, toPlain } from "../safetensors/json.ts";
import type { JsonDialect } from "../safetensors/json-scanner.ts";
import { quote } from "../safetensors/quote.ts";

/**
 * Typed access to the members of a JSON object. A member that is absent or null reads as undefined; one of
 * another type than asked for is a FormatError with the file, the key's path and the value.
 */
export class JsonFields {
  readonly #members: ReadonlyMap<string, JsonValue>;
  readonly #file: string;
  readonly #path: string;

  /** @param path the keys that lead to this object, each followed by a dot. */
  constructor(members: ReadonlyMap<string, JsonValue>, file: string, path = "") {
    this.#members = members;
    this.#file = file;
    this.#path = path;
  }

  /**
   * Parses a document that must be an object.
   * @param hint what to do where it is another kind of value
   * @throws FormatError when it is not, or is not JSON of the dialect
   */
  static parse(
    bytes: Uint8Array,
    file: string,
    dialect: JsonDialect = "strict",
    hint = "the file is damaged or is another file under this name",
  ): JsonFields {
    const value = parseJson(bytes, file, dialect);
    if (!(value instanceof Map)) {
      throw new FormatError(`${quote(file)}: expected a JSON object, found ${show(value)}`, { hint });
    }
    return new JsonFields(value, file);
  }

  /** Whether the member is there, be it null. */
  has(key: string): boolean {
    return this.#members.has(key);
  }

  keys(): string[] {
    return [...this.#members.keys()];
  }

  string(key: string): string | undefined {
    const value = this.#get(key);
    return value === undefined || typeof value === "string" ? value : this.#refuse(key, "a string");
  }

  boolean(key: string): boolean | undefined {
    const value = this.#get(key);
    return value === undefined || typeof value === "boolean" ? value : this.#refuse(key, "true or false");
  }

  number(key: string): number | undefined {
    const value = this.#get(key);
    return value === undefined ? undefined : (finiteNumber(value) ?? this.#refuse(key, "a finite number"));
  }

  positiveNumber(key: string): number | undefined {
    const value = this.number(key);
    return value === undefined || value > 0 ? value : this.#refuse(key, "a positive number");
  }

  /** An integer of 0 to `max`. */
  integer(key: string, max = maxInteger): number | undefined {
    return this.#integer(key, 0, max);
  }

  /** An integer of 1 to `max`. */
  positiveInteger(key: string, max = maxInteger): number | undefined {
    return this.#integer(key, 1, max);
  }

  numbers(key: string): number[] | undefined {
    return this.#list(key, "a list of finite numbers", finiteNumber);
  }

  strings(key: string): string[] | undefined {
    return this.#list(key, "a list of strings", (item) => (typeof item === "string" ? item : undefined));
  }

  object(key: string): JsonFields | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!(value instanceof Map)) return this.#refuse(key, "an object");
    return new JsonFields(value, this.#file, `${this.#path}${key}.`);
  }

  /** The objects of a list. */
  objects(key: string): JsonFields[] | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return this.#refuse(key, "a list of objects");
    return value.map((item, index) =>
      item instanceof Map
        ? new JsonFields(item, this.#file, `${this.#path}${key}.${index}.`)
        : this.#refuse(key, "a list of objects"),
    );
  }

  /** The member as it was parsed; undefined when it is absent or null. */
  value(key: string): JsonValue | undefined {
    return this.#get(key);
  }

  /** A value that the file must have. */
  required<T>(key: string, value: T | undefined): T {
    return value ?? this.fail(`${quote(this.#path + key)} is missing`);
  }

  /** Throws a FormatError about this file. */
  fail(problem: string, hint = "the file is damaged, or is of a kind that nestedfp does not know"): never {
    throw new FormatError(`${quote(this.#file)}: ${problem}`, { hint });
  }

  /** The key with the path of this object, quoted, for messages. */
  name(key: string): string {
    return quote(this.#path + key);
  }

  #get(key: string): JsonValue | undefined {
    return this.#members.get(key) ?? undefined;
  }

  #integer(key: string, min: number, max: number): number | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    const number = finiteNumber(value);
    if (number !== undefined && Number.isInteger(number) && number >= min && number <= max) return number;
    const range = max === maxInteger ? `of at least ${min}` : `of ${min} to ${max}`;
    return this.#refuse(key, `an integer ${range}`);
  }

  #list<T>(key: string, expected: string, read: (item: JsonValue) => T | undefined): T[] | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return this.#refuse(key, expected);
    return value.map((item) => read(item) ?? this.#refuse(key, expected));
  }

  #refuse(key: string, expected: string): never {
    this.fail(`${this.name(key)} must be ${expected}, found ${show(this.#members.get(key) ?? null)}`);
  }
}

/** Ids and sizes are kept in 32-bit integers. */
const maxInteger = 2 ** 31 - 1;

function finiteNumber(value: JsonValue): number | undefined {
  const plain = toPlain(value);
  return typeof plain === "number" && Number.isFinite(plain) ? plain : undefined;
}

function show(value: JsonValue): string {
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return "an object";
  return value === null || typeof value === "boolean" ? String(value) : value.text.slice(0, 40);
}
