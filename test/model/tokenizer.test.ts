import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { createTokenizer, loadTokenizer } from "../../src/model/tokenizer.ts";
import { Prng } from "../safetensors/prng.ts";
import { readJson, sharedData, skipWithoutData } from "./shared-data.ts";
import { byteLevelSpelling, slowBpe } from "./slow-tokenizer.ts";

const fixture = fileURLToPath(new URL("../../fixtures/tiny-llama/", import.meta.url));
const tiny = readJson(`${fixture}tokenizer.json`);

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

for (const name of ["tiny", "small"]) {
  test(`gives models/${name}'s ids of the whole of WikiText-2`, { skip: skipWithoutData }, async () => {
    const folder = `${sharedData}models/${name}`;
    const reference = readJson(`${folder}/reference.json`);
    const tokenizer = await loadTokenizer(folder);
    const ids = tokenizer.encode(readFileSync(`${sharedData}wikitext-2/test.txt`, "utf8"));
    assert.equal(ids.length, reference.test_ids);
    assert.deepEqual([...ids.subarray(0, 32)], reference.test_ids_first32);
    const littleEndian = Buffer.alloc(4 * ids.length);
    for (const [at, id] of ids.entries()) littleEndian.writeInt32LE(id, 4 * at);
    const digest = createHash("sha256").update(littleEndian).digest("hex");
    assert.equal(digest, reference.test_ids_sha256_int32le);
    assert.deepEqual(
      [tokenizer.addsBos, tokenizer.bosId, tokenizer.vocabSize],
      [true, 0, readJson(`${folder}/config.json`).vocab_size],
    );
  });
}

test("gives the ids that transformers gave the fixture's prompts", async () => {
  const tokenizer = await loadTokenizer(fixture);
  const { prompts } = readJson(`${fixture}reference.json`).results.fp16;
  assert.equal(prompts.length, 2);
  for (const { prompt, ids } of prompts) {
    assert.deepEqual([...tokenizer.encode(prompt)], ids);
    assert.deepEqual([...tokenizer.encode(prompt, { addSpecialTokens: false })], ids.slice(1));
  }
});

for (const [text, ids] of [
  ["", [0]],
  ["a", [0, 67]],
  ["<unk>", [0, 2]],
  ["<s></s>", [0, 0, 1]],
  [" the the", [0, 263, 263]],
  ["\u00e9", [0, 130, 105]],
] as const) {
  test(`encodes ${JSON.stringify(text)}`, async () => {
    assert.deepEqual([...(await loadTokenizer(fixture)).encode(text)], ids);
  });
}

const gpt2 = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
const llama3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const llama3Words =
  /'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

for (const [name, pre_tokenizer, words] of [
  ["GPT-2's words", tiny.pre_tokenizer, gpt2],
  [
    "Llama 3's words",
    {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: llama3 }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    llama3Words,
  ],
  [
    "Llama 3's words as tiktoken's conversion writes them",
    {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: llama3 }, behavior: "Removed", invert: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    llama3Words,
  ],
] as const) {
  test(`agrees with plain byte-pair encoding of ${name} on random text`, () => {
    const tokenizer = createTokenizer(encode({ ...tiny, pre_tokenizer, added_tokens: [] }));
    const random = new Prng(1);
    for (let round = 0; round < 300; round++) {
      const text = randomText(random);
      const expected = (text.match(words) ?? []).flatMap((word) =>
        slowBpe(tiny.model, byteLevelSpelling(word)),
      );
      const actual = tokenizer.encode(text, { addSpecialTokens: false });
      assert.deepEqual([...actual], expected, JSON.stringify(text));
    }
  });
}

test("white space is the original's: U+0085 is, U+FEFF is not", () => {
  // In JavaScript's \s it is the other way round. The last of several white spaces before a letter is its own
  // word, while " ?[^\s...]+" takes a space together with what is none; a merge with the space shows which.
  const model = withMerges(["Ġ", "ï"], ["Ġ", "Â"]);
  const tokenizer = createTokenizer(encode({ ...tiny, added_tokens: [], model }));
  const first = (text: string) => tokenizer.encode(text, { addSpecialTokens: false })[0];
  assert.equal(first(" \ufeffa"), model.vocab.Ġï);
  assert.equal(first(" \u0085a"), model.vocab.Ġ);
});

test("needs tokenizer.json; without tokenizer_config.json BOS is the first id of the template", async () => {
  const folder = mkdtempSync(join(tmpdir(), "nestedfp-tokenizer-"));
  try {
    await assert.rejects(loadTokenizer(folder), {
      name: "FormatError",
      message: `${JSON.stringify(folder)} has no tokenizer.json`,
    });
    copyFileSync(`${fixture}tokenizer.json`, join(folder, "tokenizer.json"));
    const tokenizer = await loadTokenizer(folder);
    assert.deepEqual([tokenizer.addsBos, tokenizer.bosId], [true, 0]);
    writeFileSync(join(folder, "tokenizer_config.json"), "{");
    await assert.rejects(loadTokenizer(folder), {
      name: "FormatError",
      message: '"tokenizer_config.json": expected a key, found the end at byte 1',
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("prints nothing", () => {
  const written: unknown[] = [];
  const { write } = process.stdout;
  process.stdout.write = (chunk: unknown) => written.push(chunk) > 0;
  try {
    createTokenizer(encode(tiny)).encode("some text <unk> \ud83d\ude00");
  } finally {
    process.stdout.write = write;
  }
  assert.deepEqual(written, []);
});

/** The fixture's model with further merges, best of all, and their tokens. */
function withMerges(...merges: [string, string][]) {
  const vocab = { ...tiny.model.vocab };
  for (const [left, right] of merges) vocab[left + right] = Object.keys(vocab).length;
  return { ...tiny.model, vocab, merges: [...merges, ...tiny.model.merges] };
}

/** Words, numbers, contractions, line ends, other scripts and emoji, but no white space that JavaScript sees else. */
function randomText(random: Prng): string {
  const pieces = [
    " the",
    "The",
    " of",
    "ing",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "'s",
    "'RE",
    "'",
    "1",
    "2026",
    " 77",
  ]
    .concat([
      ".",
      ",",
      "...",
      "@-@",
      "\u00e9",
      "\u4e2d\u6587",
      "\u0660\u0661",
      "\u0301",
      "\ud83d\ude00",
      "\u00a0",
    ])
    .concat(["x".repeat(40), "aaaa", "\0", "<unk", "\u2160", "_"]);
  return Array.from({ length: random.below(30) }, () => random.pick(pieces)).join("");
}
