import type { PlainJson } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";

import type { JsonFields } from "./json-fields.ts";
import { readPattern } from "./tokenizer-pattern.ts";

/** Reads what is done to a text before it is split. @throws FormatError that names a component not supported */
export function readNormalizer(normalizer: JsonFields | undefined): PlainJson {
  if (normalizer === undefined) return null;
  const type = normalizer.required("type", normalizer.string("type"));
  switch (type) {
    case "Sequence": {
      const parts = normalizer.required("normalizers", normalizer.objects("normalizers"));
      return { type, normalizers: parts.map(readNormalizer) };
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
    case "Lowercase":
      return { type };
    case "Prepend":
      return { type, prepend: normalizer.required("prepend", normalizer.string("prepend")) };
    case "Replace": {
      const content = normalizer.required("content", normalizer.string("content"));
      // The port hands the content to String.replaceAll, where a dollar is a command.
      return { type, pattern: readPattern(normalizer), content: content.replaceAll("$", "$$$$") };
    }
    default:
      return normalizer.fail(
        `the normalizer ${quote(type)} is not supported`,
        "nestedfp runs NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace and Sequence",
      );
  }
}
