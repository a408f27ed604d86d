import type { PlainJson } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";

import type { JsonFields } from "./json-fields.ts";
import { escapeRegex, readPattern } from "./tokenizer-pattern.ts";

/**
 * Reads how a text is split into words. Where the port computes something else than the original, the component
 * is written as others that it does compute, so that the ids are the original's.
 * @throws FormatError that names a component or option that is not supported
 */
export function readPreTokenizer(pre: JsonFields | undefined): PlainJson {
  if (pre === undefined) return null;
  const type = pre.required("type", pre.string("type"));
  switch (type) {
    case "Sequence": {
      const parts = pre.required("pretokenizers", pre.objects("pretokenizers"));
      return sequence(...parts.map(readPreTokenizer));
    }
    case "ByteLevel":
      return byteLevel(pre);
    case "Split":
      return split(pre);
    case "Metaspace":
      return metaspace(pre);
    case "Digits":
      // The port takes ASCII digits only, the original everything numeric (char::is_numeric).
      return splitAt((pre.boolean("individual_digits") ?? false) ? "\\p{N}" : "\\p{N}+");
    case "Punctuation":
      return punctuation(pre);
    default:
      return pre.fail(
        `the pre-tokenizer ${quote(type)} is not supported`,
        "nestedfp runs ByteLevel, Split, Metaspace, Digits, Punctuation and Sequence",
      );
  }
}

function sequence(...pretokenizers: PlainJson[]): PlainJson {
  return { type: "Sequence", pretokenizers };
}

/** Each match, and each piece between two, becomes a word. */
function splitAt(regex: string): PlainJson {
  return { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false };
}

/**
 * The port's own splitting takes JavaScript's white space (with U+FEFF, without U+0085) where its Split takes the
 * original's, so the splitting is done by a Split.
 */
function byteLevel(pre: JsonFields): PlainJson {
  const addsSpace = pre.required("add_prefix_space", pre.boolean("add_prefix_space"));
  const splits = pre.boolean("use_regex") ?? true;
  return sequence(
    ...(addsSpace ? [{ type: "Replace", pattern: { Regex: "\\A(?! )" }, content: " " }] : []),
    ...(splits ? [splitAt(gpt2Words)] : []),
    { type: "ByteLevel", add_prefix_space: false, use_regex: false },
  );
}

/** The words of GPT-2, from the original's pre_tokenizers/byte_level.rs. */
const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** The port treats every behavior but Removed as Isolated, and Removed right only with "invert". */
function split(pre: JsonFields): PlainJson {
  const behavior = pre.required("behavior", pre.string("behavior"));
  const invert = pre.boolean("invert") ?? false;
  const pattern = readPattern(pre);
  if (behavior === "Isolated") return { type: "Split", pattern, behavior, invert: false };
  if (behavior === "Removed" && invert) return { type: "Split", pattern, behavior, invert };
  return pre.fail(
    `the pre-tokenizer "Split" with behavior ${quote(behavior)} and invert ${invert} is not supported`,
    "nestedfp runs Isolated, and Removed with invert",
  );
}

/** The port neither splits at the mark nor reads add_prefix_space, the older spelling of prepend_scheme. */
function metaspace(pre: JsonFields): PlainJson {
  const mark = pre.required("replacement", pre.string("replacement"));
  const unprefixed = pre.boolean("add_prefix_space") === false;
  const scheme = pre.string("prepend_scheme") ?? (unprefixed ? "never" : "always");
  if (!["always", "first", "never"].includes(scheme)) {
    pre.fail(`the pre-tokenizer "Metaspace" has prepend_scheme ${quote(scheme)}, which is not supported`);
  }
  const marked = { type: "Metaspace", replacement: mark, prepend_scheme: scheme };
  if (pre.boolean("split") === false) return marked;
  return sequence(marked, splitAt(`${escapeRegex(mark)}[^${escapeRegex(mark)}]*`));
}

/** The port ignores the behavior. */
function punctuation(pre: JsonFields): PlainJson {
  const behavior = pre.string("behavior") ?? "Isolated";
  const mark = "[\\p{P}\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E]";
  if (behavior === "Isolated") return splitAt(mark);
  if (behavior === "Contiguous") return splitAt(`${mark}+`);
  return pre.fail(`the pre-tokenizer "Punctuation" with behavior ${quote(behavior)} is not supported`);
}
