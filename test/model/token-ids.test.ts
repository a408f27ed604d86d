import assert from "node:assert/strict";
import { test } from "node:test";

import { parseTokenIds } from "../../src/model/token-ids.ts";
import { specOf } from "./configs.ts";

const spec = specOf("llama", { vocab_size: 512, max_position_embeddings: 4 });
const parse = (text: string) => parseTokenIds(new TextEncoder().encode(text), spec, "ids.json");

test("reads each sequence, and nothing else of the file", () => {
  const sequences = parse('{"name":"x","input_ids":[[0,511],[3,2,1,0]],"nll":[[1.5]]}');
  assert.deepEqual(sequences, [Int32Array.of(0, 511), Int32Array.of(3, 2, 1, 0)]);
});

const shape = '"ids.json": "input_ids" must be a list of lists of ids';
const sequence = '"ids.json": sequence 1 of "input_ids"';
const write = /write \{"input_ids": \[\[/;
const number = /whole number from 0/;
for (const [text, message, hint] of [
  ["{}", '"ids.json": "input_ids" is missing', write],
  ["[[1,2]]", '"ids.json": expected a JSON object, found a list of 1', write],
  ['{"input_ids":[]}', shape, write],
  ['{"input_ids":[1,2]}', shape, write],
  ['{"input_ids":"1,2"}', shape, write],
  ['{"input_ids":[[1,2],[1]]}', `${sequence} has 1 ids, but at least 2 are needed`, /leave out/],
  [
    '{"input_ids":[[1,2],[1,2,3,4,5]]}',
    `${sequence} has 5 ids, more than the 4 that the model reads`,
    /cut it into sequences of at most 4 ids/,
  ],
  [
    '{"input_ids":[[1,2],[1,512]]}',
    `${sequence} has id 512 at 1, but the model's vocabulary has 512`,
    /tokenizer of this model/,
  ],
  ['{"input_ids":[[1,2],[1,-1]]}', `${sequence} has no token id at 1`, number],
  ['{"input_ids":[[1,2],[1.5,1]]}', `${sequence} has no token id at 0`, number],
  ['{"input_ids":[[1,2],["1",1]]}', `${sequence} has no token id at 0`, number],
  ['{"input_ids":[[1,2],[1,null]]}', `${sequence} has no token id at 1`, number],
] as const) {
  test(`refuses ${text}`, () => {
    assert.throws(() => parse(text), { name: "FormatError", message, hint });
  });
}
