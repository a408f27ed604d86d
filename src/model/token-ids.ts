import { FormatError } from "../errors.ts";
import type { JsonValue } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";

import type { ModelSpec } from "./config.ts";
import { JsonFields } from "./json-fields.ts";

/**
 * Reads `{"input_ids": [[...], ...]}`, what `tokenizer(texts).input_ids` gives in transformers; other members are
 * ignored.
 * @throws FormatError when there is no sequence, one has fewer than 2 ids or more than the model reads, or an id is
 *   not in the vocabulary
 */
export function parseTokenIds(bytes: Uint8Array, spec: ModelSpec, file: string): Int32Array[] {
  const fields = JsonFields.parse(bytes, file, "strict", tokenIdsHint);
  const sequences = fields.value("input_ids") ?? fields.fail('"input_ids" is missing', tokenIdsHint);
  if (!Array.isArray(sequences) || sequences.length === 0 || !sequences.every(Array.isArray)) {
    return fields.fail('"input_ids" must be a list of lists of ids', tokenIdsHint);
  }
  return sequences.map((sequence, index) => {
    const name = `${quote(file)}: sequence ${index} of "input_ids"`;
    return readSequence(sequence as readonly JsonValue[], spec, name);
  });
}

const tokenIdsHint = 'write {"input_ids": [[...], ...]}, one list of token ids for each sequence';

function readSequence(sequence: readonly JsonValue[], spec: ModelSpec, name: string): Int32Array {
  const refuse = (problem: string, hint: string) => new FormatError(`${name} ${problem}`, { hint });
  if (sequence.length < 2) {
    throw refuse(
      `has ${sequence.length} ids, but at least 2 are needed`,
      "the first id of a sequence is only read: leave out sequences that have no other",
    );
  }
  if (sequence.length > spec.maxPositions) {
    throw refuse(
      `has ${sequence.length} ids, more than the ${spec.maxPositions} that the model reads`,
      `cut it into sequences of at most ${spec.maxPositions} ids; the limit is max_position_embeddings of its config.json`,
    );
  }
  return Int32Array.from(sequence, (item, at) => {
    const text = isNumber(item) ? item.text : undefined;
    if (text === undefined || !/^\d{1,10}$/.test(text)) {
      throw refuse(`has no token id at ${at}`, "a token id is a whole number from 0, without quotes");
    }
    if (Number(text) >= spec.vocabSize) {
      throw refuse(
        `has id ${text} at ${at}, but the model's vocabulary has ${spec.vocabSize}`,
        "make the ids with the tokenizer of this model",
      );
    }
    return Number(text);
  });
}

function isNumber(value: JsonValue): value is { readonly text: string } {
  return value !== null && typeof value === "object" && "text" in value;
}
