import { quote } from "../safetensors/quote.ts";

import type { JsonFields } from "./json-fields.ts";

/** The ids that a text gets before and after it. */
export type SpecialIds = {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly bosId: number | undefined;
};

type Affixes = { readonly prefix: readonly number[]; readonly suffix: readonly number[] };

/**
 * Reads what the post-processor puts around a single text. `add_bos_token` and `add_eos_token` of
 * tokenizer_config.json override it, as in transformers 5 (and in 4 for the Llama tokenizers).
 * @throws FormatError for a post-processor that is not supported, or a special token without an id
 */
export function readSpecialIds(
  root: JsonFields,
  settings: JsonFields,
  idOf: (token: string) => number | undefined,
): SpecialIds {
  const named = (key: string) => {
    const token = tokenText(settings, key);
    if (token === undefined) return undefined;
    return idOf(token) ?? settings.fail(`${settings.name(key)} ${quote(token)} is not in tokenizer.json`);
  };
  const { prefix, suffix } = readPostProcessor(root.object("post_processor"));
  const bosId = named("bos_token") ?? prefix[0];
  return {
    prefix: override(settings, "add_bos_token", prefix, bosId),
    suffix: override(settings, "add_eos_token", suffix, named("eos_token")),
    bosId,
  };
}

/** A special token is written as its text or as an object with its text. */
function tokenText(settings: JsonFields, key: string): string | undefined {
  const value = settings.value(key);
  return value instanceof Map ? settings.object(key)?.string("content") : settings.string(key);
}

function override(
  settings: JsonFields,
  key: string,
  ids: readonly number[],
  id: number | undefined,
): readonly number[] {
  const wanted = settings.boolean(key);
  if (wanted === undefined || wanted === (id !== undefined && ids.includes(id))) return ids;
  if (!wanted) return ids.filter((other) => other !== id);
  return [id ?? settings.fail(`${settings.name(key)} is true, but there is no such token`), ...ids];
}

function readPostProcessor(post: JsonFields | undefined): Affixes {
  if (post === undefined) return { prefix: [], suffix: [] };
  const type = post.required("type", post.string("type"));
  switch (type) {
    case "ByteLevel": // moves offsets only
      return { prefix: [], suffix: [] };
    case "TemplateProcessing":
      return readTemplate(post);
    case "Sequence": {
      // Each wraps what the one before it gave.
      const parts = post.required("processors", post.objects("processors")).map(readPostProcessor);
      return {
        prefix: parts.flatMap((_, i) => parts.at(-1 - i)?.prefix ?? []),
        suffix: parts.flatMap((part) => part.suffix),
      };
    }
    default:
      return post.fail(
        `the post-processor ${quote(type)} is not supported`,
        "nestedfp runs ByteLevel, TemplateProcessing and Sequence",
      );
  }
}

function readTemplate(post: JsonFields): Affixes {
  const special = post.object("special_tokens");
  const prefix: number[] = [];
  const suffix: number[] = [];
  let side = prefix;
  for (const item of post.required("single", post.objects("single"))) {
    if (item.has("Sequence")) {
      if (side === suffix) post.fail(`${post.name("single")} repeats the text`);
      side = suffix;
      continue;
    }
    const token = item.required("SpecialToken", item.object("SpecialToken"));
    const name = token.required("id", token.string("id"));
    const ids = special?.object(name)?.numbers("ids");
    side.push(...(ids ?? post.fail(`${post.name("single")} uses ${quote(name)}, which has no ids`)));
  }
  if (side === prefix) post.fail(`${post.name("single")} leaves out the text`);
  return { prefix, suffix };
}
