import type { PlainJson } from "../safetensors/json.ts";

import type { JsonFields } from "./json-fields.ts";

/** Reads the pattern of a Replace or Split, `{"String": text}` or `{"Regex": source}`, as a regular expression. */
export function readPattern(owner: JsonFields): { [key: string]: PlainJson } {
  const pattern = owner.required("pattern", owner.object("pattern"));
  const regex = pattern.string("Regex");
  if (regex !== undefined) return { Regex: regex };
  return { Regex: escapeRegex(pattern.required("String", pattern.string("String"))) };
}

/** Text as a regular expression that matches it alone. */
export function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
