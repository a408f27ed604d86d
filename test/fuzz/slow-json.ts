/** A JSON value that keeps what JSON.parse throws away: the spelling of numbers, and every member in its order. */
export type SlowJson =
  | { readonly kind: "object"; readonly members: readonly (readonly [key: string, value: SlowJson])[] }
  | { readonly kind: "array"; readonly items: readonly SlowJson[] }
  | { readonly kind: "string"; readonly text: string }
  | { readonly kind: "number"; readonly literal: string }
  | { readonly kind: "literal"; readonly value: boolean | null };

/** Why a document is not strict JSON as FORMAT.md §9 has it. */
export class NotStrict extends Error {}

const mostLevels = 64;

/**
 * Reads strict JSON slowly: TextDecoder judges the encoding and JSON.parse the grammar; what they let pass is found
 * in the list of tokens. It shares no line and no idea with the scanner, which goes byte by byte.
 */
export function slowJson(bytes: Uint8Array, dialect: "strict" | "python" = "strict"): SlowJson {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    JSON.parse(dialect === "python" ? withoutPython(text) : text);
  } catch (cause) {
    throw new NotStrict("no JSON", { cause });
  }
  // Any valid document is a row of these.
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s"[\]{}:,]+/g) ?? [];
  let depth = 0;
  for (const token of tokens) {
    if (token === "[" || token === "{") depth++;
    if (depth > mostLevels) throw new NotStrict("too deep");
    if (token === "]" || token === "}") depth--;
  }
  let next = 0;
  return read();

  function read(): SlowJson {
    const token = tokens[next++] ?? "";
    if (token === "{") return { kind: "object", members: readMembers() };
    if (token === "[") return { kind: "array", items: readItems() };
    if (token.startsWith('"')) return { kind: "string", text: decode(token) };
    if (token === "true" || token === "false" || token === "null")
      return { kind: "literal", value: JSON.parse(token) };
    return { kind: "number", literal: token };
  }

  function readItems(): SlowJson[] {
    const items: SlowJson[] = [];
    while (tokens[next] !== "]") {
      items.push(read());
      if (tokens[next] === ",") next++;
    }
    next++;
    return items;
  }

  function readMembers(): [string, SlowJson][] {
    const members: [string, SlowJson][] = [];
    while (tokens[next] !== "}") {
      const key = decode(tokens[next] ?? "");
      next += 2;
      members.push([key, read()]);
      if (tokens[next] === ",") next++;
    }
    next++;
    if (new Set(members.map(([key]) => key)).size !== members.length) throw new NotStrict("duplicate key");
    return members;
  }
}

/** Python writes three numbers as names, which no JSON has: here they become one that it has. */
function withoutPython(text: string): string {
  const names = /"(?:[^"\\]|\\.)*"|(?<![-+.\w])(?:-?Infinity|NaN)(?![-+.\w])/g;
  return text.replace(names, (found) => (found.startsWith('"') ? found : "0"));
}

function decode(token: string): string {
  const text: string = JSON.parse(token);
  if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(text))
    throw new NotStrict("lone surrogate");
  return text;
}

/** The value of an object's member. */
export function member(value: SlowJson, key: string): SlowJson | undefined {
  return value.kind === "object" ? value.members.find(([name]) => name === key)?.[1] : undefined;
}

/** As JSON.parse would give it. */
export function plainOf(value: SlowJson): unknown {
  if (value.kind === "array") return value.items.map(plainOf);
  if (value.kind === "string") return value.text;
  if (value.kind === "number") return Number(value.literal);
  if (value.kind === "literal") return value.value;
  const object = {};
  for (const [key, inner] of value.members) {
    Object.defineProperty(object, key, {
      value: plainOf(inner),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return object;
}
