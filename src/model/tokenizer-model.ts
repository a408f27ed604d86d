import { type JsonValue, type PlainJson, toPlain } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";

import type { JsonFields } from "./json-fields.ts";

export type TokenizerModel = {
  readonly definition: PlainJson;
  readonly ids: ReadonlyMap<string, number>;
  readonly maxId: number;
};

/**
 * Reads the vocabulary and the merges of a byte-pair encoding, the model of every architecture that runs here.
 * @throws FormatError for another model, an option that the port ignores, or a merge outside the vocabulary
 */
export function readModel(root: JsonFields): TokenizerModel {
  const model = root.required("model", root.object("model"));
  // Files of before 2021 have no type.
  const type = model.string("type") ?? (model.has("merges") ? "BPE" : "(none)");
  if (type !== "BPE") {
    model.fail(`the tokenizer model ${quote(type)} is not supported`, "nestedfp runs BPE tokenizers");
  }
  refuseOptions(model);
  const { ids, maxId } = readVocabulary(model);
  const merges = readMerges(model, ids);
  const unknown = model.string("unk_token");
  if (unknown !== undefined && !ids.has(unknown)) {
    model.fail(`${model.name("unk_token")} ${quote(unknown)} is not in the vocabulary`);
  }
  const definition = {
    type,
    vocab: toPlain(model.value("vocab") ?? null),
    merges,
    unk_token: unknown ?? null,
    fuse_unk: model.boolean("fuse_unk") ?? false,
    byte_fallback: model.boolean("byte_fallback") ?? false,
    ignore_merges: model.boolean("ignore_merges") ?? false,
  };
  return { definition, ids, maxId };
}

function refuseOptions(model: JsonFields): void {
  const dropout = model.number("dropout") ?? 0;
  if (dropout !== 0) {
    model.fail(`${model.name("dropout")} is ${dropout}, but ids must not depend on chance`);
  }
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    const affix = model.string(key) ?? "";
    if (affix !== "") model.fail(`${model.name(key)} is ${quote(affix)}, which is not supported`);
  }
}

function readVocabulary(model: JsonFields): { ids: Map<string, number>; maxId: number } {
  const vocabulary = model.required("vocab", model.object("vocab"));
  const ids = new Map<string, number>();
  let maxId = -1;
  for (const token of vocabulary.keys()) {
    const id = vocabulary.required(token, vocabulary.integer(token));
    ids.set(token, id);
    maxId = Math.max(maxId, id);
  }
  return { ids, maxId };
}

/** Pairs, best first, as lists of two or, in files of before 2025, as two words. */
function readMerges(model: JsonFields, ids: ReadonlyMap<string, number>): string[][] {
  const merges = model.required("merges", model.value("merges"));
  if (!Array.isArray(merges)) return model.fail(`${model.name("merges")} must be a list`);
  return merges.map((merge, index) => {
    const [left, right, ...rest] = pair(merge);
    if (typeof left !== "string" || typeof right !== "string" || rest.length > 0) {
      return model.fail(`${model.name("merges")} has an entry that is no pair of tokens at index ${index}`);
    }
    for (const token of [left, right, left + right]) {
      if (!ids.has(token)) {
        model.fail(`merge ${index} of ${model.name("merges")} needs ${quote(token)}, not in the vocabulary`);
      }
    }
    return [left, right];
  });
}

function pair(merge: JsonValue): readonly JsonValue[] {
  if (typeof merge === "string") return merge.split(" ");
  return Array.isArray(merge) ? merge : [];
}
