import assert from "node:assert/strict";
import { test } from "node:test";

import { createTokenizer } from "../../src/model/tokenizer.ts";

type Members = Readonly<Record<string, unknown>>;

/** `mark` is Metaspace's and `space` ByteLevel's spelling of a space. */
const [mark, space, arabicTwo] = ["\u2581", "\u0120", "\u0662"];

const alphabet = ["_", "a", "b", "c", "1", "2", ".", " ", "$", arabicTwo, mark, space];

/** A tokenizer over the alphabet, whose ids are the order of these tokens; merges are written "left+right". */
function build(members: Members, merges: readonly string[] = [], model: Members = {}, config: Members = {}) {
  const pairs = merges.map((merge) => merge.split("+"));
  const tokens = [...alphabet, ...pairs.map((pair) => pair.join(""))];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const definition = {
    model: { type: "BPE", vocab, merges: pairs, unk_token: "_", ...model },
    ...members,
  };
  const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const tokenizer = createTokenizer(bytes(definition), bytes(config));
  return {
    ...tokenizer,
    ids: (text: string) => [...tokenizer.encode(text)],
    /** The tokens of a text, separated by a bar. */
    spell: (text: string) => Array.from(tokenizer.encode(text), (id) => tokens[id]).join("|"),
  };
}

const normalizer = (type: string, members: Members = {}) => ({ normalizer: { type, ...members } });
const pre = (type: string, members: Members = {}) => ({ pre_tokenizer: { type, ...members } });
const metaspace = (members: Members) => pre("Metaspace", { replacement: mark, ...members });
const split = (behavior: string, invert: boolean) =>
  pre("Split", { pattern: { String: "." }, behavior, invert });
const marks = [`${mark}+${mark}`, `${mark}+a`];
const dots = [".+.", "a+."];
const llama2 = normalizer("Sequence", {
  normalizers: [
    { type: "Prepend", prepend: mark },
    { type: "Replace", pattern: { String: " " }, content: mark },
  ],
});

// What the Rust library gives, worked out by hand from its documentation and source.
for (const [name, members, merges, text, expected] of [
  ["merges, best first and from the left", {}, ["b+c", "a+b"], "ababcc", "ab|a|bc|c"],
  ["equal merges from the left", {}, ["a+a"], "aaa", "aa|a"],
  ["an unknown character", {}, [], "a?b", "a|_|b"],
  ["a text that is not split", {}, ["a+ ", "a +b"], "a b", "a b"],
  ["lower case", normalizer("Lowercase"), [], "AbC", "a|b|c"],
  ["compatibility forms", normalizer("NFKC"), [], "\u2460\u2461", "1|2"],
  ["Llama 2's normalizer", llama2, [...marks].reverse(), "a  a", `${mark}a|${mark}|${mark}a`],
  [
    "a replacement with a dollar, which is text",
    normalizer("Replace", { pattern: { Regex: "[12]" }, content: "$$" }),
    [],
    "a1",
    "a|$|$",
  ],
  [
    "a replacement of text that looks like a pattern",
    normalizer("Replace", { pattern: { String: "." }, content: "b" }),
    [],
    "a.",
    "a|b",
  ],
  ["a metaspace that splits", metaspace({ split: true }), marks, "a  a", `${mark}a|${mark}|${mark}a`],
  ["a metaspace as it is by default", metaspace({}), marks, "a  a", `${mark}a|${mark}|${mark}a`],
  ["a metaspace that does not", metaspace({ split: false }), marks, "a  a", `${mark}a|${mark}${mark}|a`],
  ["a metaspace without prefix", metaspace({ prepend_scheme: "never" }), [], "a a", `a|${mark}|a`],
  ["the same in its older spelling", metaspace({ add_prefix_space: false }), [], "a a", `a|${mark}|a`],
  ["digits one by one", pre("Digits", { individual_digits: true }), ["1+2", "a+1"], "a12", "a|1|2"],
  ["digits together", pre("Digits", { individual_digits: false }), ["1+2", "a+1"], "a12", "a|12"],
  [
    "digits of another script",
    pre("Digits", { individual_digits: true }),
    [`a+${arabicTwo}`],
    `a${arabicTwo}`,
    `a|${arabicTwo}`,
  ],
  ["punctuation one by one", pre("Punctuation"), dots, "a..", "a|.|."],
  ["punctuation together", pre("Punctuation", { behavior: "Contiguous" }), dots, "a..", "a|.."],
  ["a split", split("Isolated", false), dots, "a..", "a|.|."],
  ["a split the other way, which is the same", split("Isolated", true), dots, "a..", "a|.|."],
  ["a split that keeps the matches alone", split("Removed", true), dots, "a..b", ".|."],
  [
    "a sequence of splits",
    pre("Sequence", {
      pretokenizers: [{ type: "Punctuation" }, { type: "Digits", individual_digits: true }],
    }),
    ["1+2", "2+."],
    "12.",
    "1|2|.",
  ],
  [
    "a byte level that adds a space",
    pre("ByteLevel", { add_prefix_space: true }),
    [`${space}+a`],
    "a a",
    `${space}a|${space}a`,
  ],
  [
    "a byte level that need not add one",
    pre("ByteLevel", { add_prefix_space: true, use_regex: false }),
    [`${space}+a`],
    " a",
    `${space}a`,
  ],
] as const) {
  test(`runs ${name}`, () => {
    assert.equal(build(members, merges).spell(text), expected);
  });
}

test("reads merges in the older spelling, and a model without a type", () => {
  const vocab = { a: 0, b: 1, ab: 2 };
  const tokenizer = build({ model: { vocab, merges: ["a b"] } });
  assert.deepEqual(tokenizer.ids("abb"), [2, 1]);
});

test("spells what is not in the vocabulary by its bytes", () => {
  const vocab = { a: 0, "<0xC3>": 1, "<0xA9>": 2, "<unk>": 3 };
  const tokenizer = build({}, [], { vocab, unk_token: "<unk>", byte_fallback: true, fuse_unk: true });
  assert.deepEqual(tokenizer.ids("a\u00e9"), [0, 1, 2]);
  assert.deepEqual(tokenizer.ids("\u00e8\u00e8a"), [3, 0]);
});

test("takes a word that is in the vocabulary whole, if merges are to be ignored", () => {
  const vocab = { a: 0, b: 1, ab: 2, abb: 3 };
  const spell = (ignore_merges: boolean) =>
    build({}, [], { vocab, merges: ["a b"], ignore_merges, unk_token: null }).ids("abb");
  assert.deepEqual([spell(false), spell(true)], [[2, 1], [3]]);
});

const added = (content: string, members: Members = {}) => ({ id: 99, content, special: true, ...members });
const template = (...single: string[]) => ({
  post_processor: {
    type: "TemplateProcessing",
    single: single.map((id) => (id === "A" ? { Sequence: { id } } : { SpecialToken: { id } })),
    special_tokens: { "<s>": { ids: [99] }, b: { ids: [2] } },
  },
});

test("accepts every decoder of the library, as nothing is decoded", () => {
  const parts = ["Replace", "ByteFallback", "Fuse", "Strip", "WordPiece", "CTC", "BPEDecoder"];
  const decoders = [...parts, "ByteLevel", "Metaspace"].map((type) => ({ type }));
  assert.deepEqual(build({ decoder: { type: "Sequence", decoders } }).ids("ab"), [1, 2]);
});

test("finds added tokens in the text", () => {
  const { ids, vocabSize } = build({ added_tokens: [added("<s>")] });
  assert.deepEqual([ids("a<s>b"), vocabSize], [[1, 99, 2], 100]);
});

for (const [name, members, config, expected] of [
  ["nothing around a text", {}, {}, [[1], false, undefined]],
  ["BOS of a template", template("<s>", "A"), { bos_token: "<s>" }, [[99, 1], true, 99]],
  ["BOS as an object", template("<s>", "A"), { bos_token: { content: "<s>" } }, [[99, 1], true, 99]],
  ["both ends", template("<s>", "A", "b"), { bos_token: "<s>" }, [[99, 1, 2], true, 99]],
  ["the end alone", template("A", "b"), { bos_token: "<s>" }, [[1, 2], false, 99]],
  [
    "BOS that the config takes away",
    template("<s>", "A"),
    { bos_token: "<s>", add_bos_token: false },
    [[1], false, 99],
  ],
  ["BOS that the config adds", {}, { bos_token: "<s>", add_bos_token: true }, [[99, 1], true, 99]],
  [
    "BOS that is there already",
    template("<s>", "A"),
    { bos_token: "<s>", add_bos_token: true },
    [[99, 1], true, 99],
  ],
  [
    "no BOS where there is none to add",
    {},
    { bos_token: null, add_bos_token: false },
    [[1], false, undefined],
  ],
  ["EOS that the config adds", {}, { eos_token: "b", add_eos_token: true }, [[1, 2], false, undefined]],
  [
    "all but BOS, if the config takes it away",
    template("b", "<s>", "A"),
    { bos_token: "<s>", add_bos_token: false },
    [[2, 1], false, 99],
  ],
  [
    "one template around another",
    {
      post_processor: {
        type: "Sequence",
        processors: [template("<s>", "A").post_processor, template("b", "A", "b").post_processor],
      },
    },
    { bos_token: "b" },
    [[2, 99, 1, 2], true, 2],
  ],
  [
    "Llama 3's sequence",
    {
      post_processor: {
        type: "Sequence",
        processors: [{ type: "ByteLevel" }, template("<s>", "A").post_processor],
      },
    },
    {},
    [[99, 1], true, 99],
  ],
] as const) {
  test(`puts ${name}`, () => {
    const tokenizer = build({ added_tokens: [added("<s>")], ...members }, [], {}, config);
    assert.deepEqual([tokenizer.ids("a"), tokenizer.addsBos, tokenizer.bosId], expected);
    assert.deepEqual([...tokenizer.encode("a", { addSpecialTokens: false })], [1]);
  });
}

for (const [name, members, problem] of [
  ["a normalizer", normalizer("Precompiled"), 'the normalizer "Precompiled" is not supported'],
  [
    "a normalizer inside",
    normalizer("Sequence", { normalizers: [{ type: "Nmt" }] }),
    'the normalizer "Nmt" is not supported',
  ],
  ["a pre-tokenizer", pre("UnicodeScripts"), 'the pre-tokenizer "UnicodeScripts" is not supported'],
  [
    "a pre-tokenizer inside",
    pre("Sequence", { pretokenizers: [{ type: "Whitespace" }] }),
    'the pre-tokenizer "Whitespace" is not supported',
  ],
  [
    "a way to split",
    split("MergedWithPrevious", false),
    'the pre-tokenizer "Split" with behavior "MergedWithPrevious" and invert false is not supported',
  ],
  [
    "another way to split",
    split("Removed", false),
    'the pre-tokenizer "Split" with behavior "Removed" and invert false is not supported',
  ],
  [
    "a way to split at punctuation",
    pre("Punctuation", { behavior: "Removed" }),
    'the pre-tokenizer "Punctuation" with behavior "Removed" is not supported',
  ],
  [
    "a prefix scheme",
    metaspace({ prepend_scheme: "last" }),
    'the pre-tokenizer "Metaspace" has prepend_scheme "last", which is not supported',
  ],
  ["a component without a type", { pre_tokenizer: {} }, '"pre_tokenizer.type" is missing'],
  [
    "a pattern of neither kind",
    pre("Split", { pattern: {}, behavior: "Isolated" }),
    '"pre_tokenizer.pattern.String" is missing',
  ],
  ["a model", { model: { type: "Unigram", vocab: [] } }, 'the tokenizer model "Unigram" is not supported'],
  ["no model", { model: null }, '"model" is missing'],
  [
    "a post-processor",
    { post_processor: { type: "BertProcessing" } },
    'the post-processor "BertProcessing" is not supported',
  ],
  [
    "a post-processor inside",
    { post_processor: { type: "Sequence", processors: [{ type: "Telepathy" }] } },
    'the post-processor "Telepathy" is not supported',
  ],
  ["a decoder", { decoder: { type: "Telepathy" } }, 'the decoder "Telepathy" is not supported'],
  [
    "a decoder inside",
    { decoder: { type: "Sequence", decoders: [{ type: "Fuse" }, { type: "Telepathy" }] } },
    'the decoder "Telepathy" is not supported',
  ],
  ["a decoder without a type", { decoder: {} }, '"decoder.type" is missing'],
  ["a template without the text", template("<s>"), '"post_processor.single" leaves out the text'],
  ["a template with the text twice", template("A", "A"), '"post_processor.single" repeats the text'],
  [
    "a template with an unknown token",
    template("c", "A"),
    '"post_processor.single" uses "c", which has no ids',
  ],
  [
    "an added token with a condition",
    { added_tokens: [added("<x>", { single_word: true })] },
    'the added token "<x>" has "single_word", which is not supported',
  ],
  ["an added token without an id", { added_tokens: [{ content: "<x>" }] }, '"added_tokens.0.id" is missing'],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => build(members), { name: "FormatError", message: `"tokenizer.json": ${problem}` });
  });
}

for (const [name, model, problem] of [
  ["chance", { dropout: 0.1 }, '"model.dropout" is 0.1, but ids must not depend on chance'],
  [
    "a suffix",
    { end_of_word_suffix: "</w>" },
    '"model.end_of_word_suffix" is "</w>", which is not supported',
  ],
  [
    "a prefix",
    { continuing_subword_prefix: "##" },
    '"model.continuing_subword_prefix" is "##", which is not supported',
  ],
  [
    "a token without an id",
    { vocab: { a: "1" } },
    '"model.vocab.a" must be an integer of at least 0, found "1"',
  ],
  [
    "an id of 2^31",
    { vocab: { a: 2 ** 31 } },
    '"model.vocab.a" must be an integer of at least 0, found 2147483648',
  ],
  ["no merges", { merges: null }, '"model.merges" is missing'],
  ["merges that are no list", { merges: {} }, '"model.merges" must be a list'],
  [
    "a merge of three",
    { merges: ["a b c"] },
    '"model.merges" has an entry that is no pair of tokens at index 0',
  ],
  [
    "a merge of numbers",
    { merges: [[1, 2]] },
    '"model.merges" has an entry that is no pair of tokens at index 0',
  ],
  [
    "a merge without its result",
    { merges: ["a b"] },
    'merge 0 of "model.merges" needs "ab", not in the vocabulary',
  ],
  [
    "an unknown token that is not known",
    { unk_token: "?" },
    '"model.unk_token" "?" is not in the vocabulary',
  ],
] as const) {
  test(`refuses a model with ${name}`, () => {
    assert.throws(() => build({}, [], model), {
      name: "FormatError",
      message: `"tokenizer.json": ${problem}`,
    });
  });
}

test("refuses a regular expression that the port cannot translate", () => {
  const broken = pre("Split", { pattern: { Regex: "(" }, behavior: "Isolated" });
  assert.throws(() => build(broken), {
    name: "FormatError",
    message: /^"tokenizer\.json": the tokenizer cannot be built: ".*Unterminated group"$/,
  });
});

for (const [name, config, problem] of [
  ["a BOS that is no token", { bos_token: "<bos>" }, '"bos_token" "<bos>" is not in tokenizer.json'],
  [
    "a BOS to add that is not named",
    { add_bos_token: true },
    '"add_bos_token" is true, but there is no such token',
  ],
  [
    "an EOS to add that is not named",
    { add_eos_token: true },
    '"add_eos_token" is true, but there is no such token',
  ],
  ["a BOS of another type", { bos_token: 1 }, '"bos_token" must be a string, found 1'],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => build({}, [], {}, config), {
      name: "FormatError",
      message: `"tokenizer_config.json": ${problem}`,
    });
  });
}
