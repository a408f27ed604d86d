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
  const fields = JsonFields.parse(bytes, file);
  const sequences = fields.required("input_ids", fields.value("input_ids"));
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
  const refuse = (problem: string) => new FormatError(`${name} ${problem}`, { hint: tokenIdsHint });
  if (sequence.length < 2) throw refuse(`has ${sequence.length} ids, but at least 2 are needed`);
  if (sequence.length > spec.maxPositions) {
    throw refuse(`has ${sequence.length} ids, more than the ${spec.maxPositions} that the model reads`);
  }
  return Int32Array.from(sequence, (item, at) => {
    const text = isNumber(item) ? item.text : undefined;
    if (text === undefined || !/^\d{1,10}$/.test(text)) throw refuse(`has no token id at ${at}`);
    if (Number(text) >= spec.vocabSize) {
      throw refuse(`has id ${text} at ${at}, but the model's vocabulary has ${spec.vocabSize}`);
    }
    return Number(text);
  });
}

function isNumber(value: JsonValue): value is { readonly text: string } {
  return value !== null && typeof value === "object" && "text" in value;
}
