import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { withMember } from "../../src/convert/config-text.ts";
import { parseManifest } from "../../src/convert/manifest.ts";
import { FormatError } from "../../src/errors.ts";
import { parseConfig } from "../../src/model/config.ts";
import { parseIndex } from "../../src/safetensors/index-file.ts";
import { parseJson, toPlain } from "../../src/safetensors/json.ts";
import { root } from "../cli/run.ts";
import type { Prng } from "../safetensors/prng.ts";
import { agree, fuzz, verdict } from "./cases.ts";
import { mutate } from "./mutate.ts";
import { slowIndex, slowManifest } from "./slow-documents.ts";
import { member, plainOf, slowJson } from "./slow-json.ts";

const shards = [
  "model-00001-of-00002.safetensors",
  "a.safetensors",
  "é",
  "con.x",
  "a b",
  "..",
  "../x",
  "x/y",
  "a\\\\b",
  "x.",
  "nul",
  "COM1.safetensors",
  "x".repeat(256),
  "é".repeat(128),
];
const tensors = ["a.weight", "__proto__", "constructor", "", "a\\u001b[2J", "😀"];

/** An index, of good and bad names. */
function index(prng: Prng): string {
  const names = prng.below(2) === 0 ? shards.slice(0, 3) : shards;
  const entries = prng
    .shuffled(tensors)
    .slice(0, 1 + prng.below(4))
    .map((name) => `"${name}": "${prng.pick(names)}"`);
  const members = [`"weight_map": {${entries.join(", ")}}`, '"metadata": {"total_size": 12}'];
  return `{${prng
    .shuffled(members)
    .slice(0, 1 + prng.below(2))
    .join(", ")}}`;
}

test("indexes: what is accepted names plain files, and the rest is a FormatError", (t) => {
  const { tried, accepted } = fuzz(2, (prng, number) => {
    const text = index(prng);
    const bytes =
      number % 4 === 0 ? Buffer.from(text) : number % 16 === 1 ? prng.bytes(40) : mutate(prng, text);
    const both = agree(
      verdict(() => parseIndex(bytes, "f")),
      verdict(() => slowIndex(bytes)),
      bytes,
    );
    if (both === undefined) return false;
    assert.deepEqual([...both.ours.weightMap], both.slow);
    assert.deepEqual(new Set(both.ours.shardNames), new Set(both.slow.map(([, shard]) => shard)));
    return true;
  });
  t.diagnostic(`${tried} cases, ${accepted} accepted`);
  assert.ok(accepted >= tried / 50 && accepted < tried / 2, `${accepted} accepted`);
});

/** A manifest with a split tensor, a kept one and a file of every role. */
function manifest(prng: Prng): string {
  const hash = "0123456789abcdef".repeat(4);
  const paths =
    prng.below(3) === 0
      ? ["x", "..", "../x", "/x", "a/b", "nestedfp/x", "a\u0000b", "x".repeat(256), "nestedfp/../x"]
      : ["x", "tokenizer.json"];
  const pair = { upper: "model-00001-of-00001.safetensors", lower: "nestedfp/lower-00001-of-00001.nfp" };
  const size = prng.pick([0, 5, 2 ** 40]);
  const numbers = { max_abs: prng.pick([null, 0.5]), max_shift: 0, inexact: 0, underflow: 0 };
  const crc32 = { source: "0000abcd", upper: "00000000", scale: "00000000", lower: "ffffffff" };
  const tensor = {
    name: "a.weight",
    dtype: "BF16",
    shape: [1, 2],
    file: "model.safetensors",
    offsets: [0, 4],
    ...numbers,
  };
  const patched = { ...crc32, patch_index: "00000001", patch_value: "00000002" };
  return JSON.stringify({
    format: "nestedfp",
    format_version: prng.pick(["1.0", "1.7", "1.0", "2.0"]),
    tool: { name: "nestedfp", version: "0" },
    encoding: { id: "e4m3fn-rne-sat/1", max_abs_exclusive: 1.875, lower_codec: "raw" },
    restorable: true,
    source: {
      ...{
        repo: null,
        revision: null,
        dtype: "BF16",
        index: prng.pick([null, "model.safetensors.index.json", "../x"]),
      },
      files: [{ path: prng.pick(paths), size, sha256: hash, header_sha256: hash, ...pair }],
      omitted: [{ path: "../anything", reason: "r" }],
    },
    files: [
      { path: prng.pick(paths), role: prng.pick(["verbatim", "upper", "config"]), size, sha256: hash },
      {
        path: prng.pick(["nestedfp/source/config.json", "nestedfp/source/config.json", "config.json"]),
        role: "source",
        size,
        sha256: hash,
      },
    ],
    tensors: [
      {
        ...tensor,
        crc32: prng.pick([crc32, patched]),
        planes: pair,
        patches: prng.pick([0, 3]),
        reason: null,
      },
      { ...tensor, crc32, planes: null, patches: 0, reason: "not_linear" },
    ],
    summary: { split: 1, kept: 1, split_bytes: 4, kept_bytes: 4, coverage: 1, reasons: { not_linear: 1 } },
  });
}

test("manifests: no path of an accepted one leaves the directory, and the rest is a FormatError", (t) => {
  const { tried, accepted } = fuzz(3, (prng, number) => {
    const text = manifest(prng);
    const bytes = number % 4 === 0 ? Buffer.from(text) : mutate(prng, text);
    const both = agree(
      verdict(() => parseManifest(bytes, "f")),
      verdict(() => slowManifest(bytes)),
      bytes,
    );
    if (both === undefined) return false;
    assert.deepEqual(both.ours, both.slow);
    return true;
  });
  t.diagnostic(`${tried} cases, ${accepted} accepted`);
  assert.ok(accepted >= tried / 50 && accepted < tried / 2, `${accepted} accepted`);
});

const configs = readdirSync(join(root, "fixtures/checkpoints"))
  .map((name) => join(root, "fixtures/checkpoints", name, "config.json"))
  .concat(join(root, "fixtures/tiny-llama/config.json"))
  .filter((path) => existsSync(path))
  .map((path) => readFileSync(path, "utf8"));

test("configs: what is parsed and changed is what JSON says, and the rest is a FormatError", (t) => {
  const value = { ignore: ["lm_head", "__proto__"], n: 1.5 };
  const { tried, accepted } = fuzz(4, (prng, number) => {
    const text = prng.pick(configs);
    const bytes = number % 8 === 0 ? Buffer.from(text) : mutate(prng, text);
    const both = agree(
      verdict(() => parseJson(bytes, "f", "python")),
      verdict(() => slowJson(bytes, "python")),
      bytes,
    );
    const spec = verdict(() => parseConfig(bytes));
    if ("error" in spec) assert.ok(spec.error instanceof FormatError, `${spec.error}`);
    else checkSpec(spec.value);
    if (both === undefined || both.slow.kind !== "object") {
      assert.ok("error" in spec && "error" in verdict(() => withMember(bytes, "quantization_config", value)));
      return false;
    }
    assert.deepEqual(structuredClone(toPlain(both.ours)), structuredClone(plainOf(both.slow)));
    const changed = slowJson(withMember(bytes, "quantization_config", value), "python");
    assert.deepEqual(plainOf(member(changed, "quantization_config") ?? changed), value);
    const others = (document: typeof changed) =>
      document.kind === "object" && document.members.filter(([key]) => key !== "quantization_config");
    assert.deepEqual(others(changed), others(both.slow));
    return true;
  });
  t.diagnostic(`${tried} cases, ${accepted} accepted`);
  assert.ok(accepted >= tried / 20 && accepted < (4 * tried) / 5, `${accepted} accepted`);
});

/** Sizes that a decoder can be made with. */
function checkSpec(spec: ReturnType<typeof parseConfig>): void {
  const { hiddenSize, intermediateSize, layers, heads, kvHeads, headDim, vocabSize, maxPositions } = spec;
  for (const size of [
    hiddenSize,
    intermediateSize,
    layers,
    heads,
    kvHeads,
    headDim,
    vocabSize,
    maxPositions,
  ]) {
    assert.ok(Number.isSafeInteger(size) && size > 0, `${size}`);
  }
  assert.equal(heads % kvHeads, 0);
  assert.ok(Number.isFinite(spec.rmsNormEps) && spec.rmsNormEps > 0);
  assert.equal(spec.slidingWindow.length, layers);
}
