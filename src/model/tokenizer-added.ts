import { type PlainJson, toPlain } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";

import type { JsonFields } from "./json-fields.ts";

export type AddedTokens = {
  readonly definition: PlainJson[];
  readonly ids: ReadonlyMap<string, number>;
};

/** Reads the tokens that are found in a text before anything else happens to it, such as `<s>`. */
export function readAddedTokens(root: JsonFields): AddedTokens {
  const ids = new Map<string, number>();
  for (const token of root.objects("added_tokens") ?? []) {
    const content = token.required("content", token.string("content"));
    ids.set(content, token.required("id", token.integer("id")));
    if (token.boolean("single_word") ?? false) {
      token.fail(
        `the added token ${quote(content)} has "single_word", which is not supported`,
        "nestedfp finds added tokens wherever they stand",
      );
    }
  }
  const definition = toPlain(root.value("added_tokens") ?? []);
  return { definition: Array.isArray(definition) ? definition : [], ids };
}
