import { join } from "node:path";

import { Tokenizer as TokenizerJs } from "@huggingface/tokenizers";

import { FormatError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { systemCode } from "../safetensors/system-error.ts";

import { JsonFields } from "./json-fields.ts";
import { readAddedTokens } from "./tokenizer-added.ts";
import { refuseUnknownDecoder } from "./tokenizer-decoder.ts";
import { readModel } from "./tokenizer-model.ts";
import { readNormalizer } from "./tokenizer-normalizer.ts";
import { readPreTokenizer } from "./tokenizer-pre.ts";
import { readSpecialIds, type SpecialIds } from "./tokenizer-special.ts";

export type EncodeOptions = {
  /** Put the ids before and after that the tokenizer gives a text on its own, such as BOS (default true). */
  readonly addSpecialTokens?: boolean;
};

export type Tokenizer = {
  /** The ids of a text; special tokens that are written out in it become theirs. */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** Whether an encoded text begins with `bosId`. */
  readonly addsBos: boolean;
  readonly bosId: number | undefined;
  /** One more than the largest id. */
  readonly vocabSize: number;
};

/**
 * Reads tokenizer.json and, if it is there, tokenizer_config.json.
 * @throws FormatError as {@link createTokenizer}, or when a file cannot be read
 */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const definition = await readOptional(join(directory, "tokenizer.json"));
  if (definition === undefined) {
    throw new FormatError(`${quote(directory)} has no tokenizer.json`, {
      hint: "save the tokenizer with transformers (AutoTokenizer...save_pretrained), or give the ids of the text",
    });
  }
  return createTokenizer(definition, await readOptional(join(directory, "tokenizer_config.json")));
}

/**
 * A tokenizer of the `tokenizers` library, run by its JavaScript port.
 * @throws FormatError when a file is not strict JSON or holds a component, named in the message, that the port
 *   does not know or does not compute as the original
 */
export function createTokenizer(definition: Uint8Array, config?: Uint8Array): Tokenizer {
  const root = JsonFields.parse(definition, "tokenizer.json");
  const settings = JsonFields.parse(config ?? emptyObject, "tokenizer_config.json");
  const model = readModel(root);
  const added = readAddedTokens(root);
  const idOf = (token: string) => added.ids.get(token) ?? model.ids.get(token);
  const special = readSpecialIds(root, settings, idOf);
  refuseUnknownDecoder(root.object("decoder"));
  const port = startPort(root, {
    normalizer: readNormalizer(root.object("normalizer")),
    pre_tokenizer: readPreTokenizer(root.object("pre_tokenizer")),
    model: model.definition,
    added_tokens: added.definition,
    // Special ids are put on here, and nothing is decoded.
    post_processor: null,
    decoder: null,
  });
  return {
    encode: (text, { addSpecialTokens = true } = {}) => {
      const body = port.encode(text).ids;
      return addSpecialTokens ? withSpecialIds(special, body) : Int32Array.from(body);
    },
    addsBos: special.bosId !== undefined && special.prefix[0] === special.bosId,
    bosId: special.bosId,
    vocabSize: 1 + Math.max(model.maxId, ...added.ids.values()),
  };
}

const emptyObject = new TextEncoder().encode("{}");

/** A vocabulary of 256,000 tokens and its merges take 35 MB. */
const maxFile = 128 << 20;

async function readOptional(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readWholeFile(path, maxFile);
  } catch (error) {
    if (error instanceof FormatError && systemCode(error.cause) === "ENOENT") return undefined;
    throw error;
  }
}

/** The port's errors are of any class: a regular expression it cannot translate is a SyntaxError. */
function startPort(root: JsonFields, definition: object): TokenizerJs {
  try {
    // tokenizer_config.json is not handed on: it holds settings of slow tokenizers that the port would apply.
    return new TokenizerJs(definition, {});
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return root.fail(`the tokenizer cannot be built: ${quote(reason)}`);
  }
}

function withSpecialIds({ prefix, suffix }: SpecialIds, body: readonly number[]): Int32Array {
  const ids = new Int32Array(prefix.length + body.length + suffix.length);
  ids.set(prefix);
  ids.set(body, prefix.length);
  ids.set(suffix, prefix.length + body.length);
  return ids;
}
