import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Run } from "../cli/run.ts";
import { assertOk, assertRefused, root } from "../cli/run.ts";
import { filesOf, gitBlobId } from "./contents.ts";
import { startWithModel } from "./published-model.ts";
import { commitOf, listingEntry, listingOf } from "./test-repo.ts";

const { hub, scratch, cache, run, source } = await startWithModel();
const files = filesOf(source);

/** Everything that reads a repository, each with a cache and an output of its own. */
const readers: readonly (readonly [name: string, ...args: string[]])[] = [
  ["convert", "convert"],
  ["convert --stream", "convert", "--stream"],
  ["convert --dry-run", "convert", "--dry-run"],
  ["inspect", "inspect"],
];

let runs = 0;
async function read(id: string, reader: string): Promise<Run & { readonly untouched: boolean }> {
  const [, command = "", ...more] = readers.find(([name]) => name === reader) ?? [];
  const name = `hostile-${++runs}`;
  const out = join(scratch, name);
  const target = command === "convert" ? ["-o", out] : [];
  const ended = await run([command, id, ...target, ...more], { cache: name });
  return { ...ended, untouched: !existsSync(out) && !existsSync(cache(name)) };
}

/** Names of everything below the folder of these tests that a hostile listing could have made. */
function strays(): string[] {
  return readdirSync(scratch, { recursive: true, encoding: "utf8" }).filter((path) => /evil/.test(path));
}

describe("a path that no Git tree holds gives 4 to every command, wherever it stands, and nothing is written:", () => {
  for (const [i, path] of [
    "..",
    ".",
    "",
    "../evil.json",
    "/etc/evil.json",
    "onnx/../../evil.json",
    "onnx/..",
    "onnx//evil.json",
    "onnx/./evil.json",
    "onnx/",
    "nestedfp/../evil.json",
    "evil\u0000.json",
    "onnx/evil\u0000.json",
  ].entries()) {
    test(JSON.stringify(path), async () => {
      const id = `org/no-tree-${i}`;
      hub.add(id, { files, listing: [...listingOf(files), listingEntry(path, Buffer.from("{}"))] });
      for (const [reader] of i % 4 === 0 ? readers : readers.slice(-1)) {
        const ended = await read(id, reader);
        assertRefused(ended, 4, /lists a file ".*": a part of its path leads out of where it lies/);
        assert.ok(ended.untouched, reader);
      }
      assert.deepEqual(strays(), []);
    });
  }
});

const oddNames = [
  "..\\evil.json",
  "C:evil.json",
  "nul.json",
  "evil\u001b[31m.json",
  "evil. ",
  `evil${"x".repeat(300)}`,
];

describe("a name that is another file elsewhere, or none at all, gives 4 to what would write it:", () => {
  for (const [i, path] of oddNames.entries()) {
    test(JSON.stringify(path.slice(0, 20)), async () => {
      const id = `org/odd-${i}`;
      hub.add(id, { files, listing: [...listingOf(files), listingEntry(path, Buffer.from("{}"))] });
      for (const reader of ["convert", "convert --stream"]) {
        const ended = await read(id, reader);
        assertRefused(ended, 4, /lists a file ".*": a part of its path (holds|is|ends)/);
        assert.ok(!ended.stderr.includes("\u001b"));
      }
      // It reads headers, and writes nothing.
      assertOk(await read(id, "inspect"));
      assert.deepEqual(strays(), []);
    });
  }

  for (const [i, name] of ["x\\..\\evil", "C:evil", "nul", "evil\u0007", "evil".padEnd(250, "x")].entries()) {
    test(`as a lone shard, ${JSON.stringify(name.slice(0, 20))}.safetensors`, async () => {
      const shard = `${name}.safetensors`;
      const lone = filesOf(join(root, "fixtures/tiny-llama"));
      const { "model.safetensors": weights = new Uint8Array(0), ...beside } = lone;
      hub.add(`org/lone-${i}`, { files: { ...beside, [shard]: weights } });
      for (const reader of i < 2 ? ["convert", "convert --stream", "inspect"] : ["inspect"]) {
        const ended = await read(`org/lone-${i}`, reader);
        assertRefused(ended, 4, /lists a file ".*": a part of its path (holds|is)/);
        assert.ok(ended.untouched, reader);
      }
    });
  }

  for (const [i, name] of [
    "../evil.safetensors",
    "..\\evil.safetensors",
    "evil\u0000.safetensors",
  ].entries()) {
    test(`as a shard of the index, ${JSON.stringify(name)}`, async () => {
      const first = "model-00001-of-00003.safetensors";
      const index = String(files["model.safetensors.index.json"]).replaceAll(
        first,
        JSON.stringify(name).slice(1, -1),
      );
      const changed = { ...files, "model.safetensors.index.json": Buffer.from(index) };
      hub.add(`org/index-${i}`, { files: changed });
      for (const reader of ["convert", "inspect"]) {
        const ended = await read(`org/index-${i}`, reader);
        assertRefused(ended, 4, /weight_map puts tensor ".*" in ".*", which holds a /);
        assert.ok(ended.untouched, reader);
      }
    });
  }

  test("as a lower file of a converted repository that eval fetches", async () => {
    const converted = join(scratch, "converted");
    assertOk(await run(["convert", join(root, "fixtures/tiny-llama"), "-o", converted]));
    const names = [
      "nestedfp/lower-..\\..\\evil.nfp",
      "nestedfp/lower-evil:.nfp",
      `nestedfp/lower-${"x".repeat(300)}.nfp`,
    ];
    for (const [i, path] of names.entries()) {
      const nested = filesOf(converted);
      hub.add(`org/lower-${i}`, { files: { ...nested, [path]: Buffer.from("{}") } });
      const text = join(root, "fixtures/text/overlay.txt");
      const args = ["eval", `org/lower-${i}`, "--text", text, "--ctx", "64", "--limit", "1"];
      assertRefused(await run(args, { cache: `lower-${i}` }), 4, /a part of its path (holds|is longer)/);
      assert.ok(!existsSync(cache(`lower-${i}`)));
    }
  });
});

describe("what else of a listing is not to be believed gives 5:", () => {
  const shard = "model-00001-of-00003.safetensors";
  const entry = { type: "file", path: "x.json", size: 2, oid: gitBlobId(Buffer.from("{}")) };
  const lfs = { oid: "0".repeat(64), size: 9000, pointerSize: 130 };
  const cases: readonly (readonly [name: string, entry: object, sentence: RegExp])[] = [
    [
      "an id that is a path",
      { ...entry, oid: "../../../evil" },
      /"x\.json\\" with id \\"\.\.\/\.\.\/\.\.\/evil/,
    ],
    ["an LFS id that is a path", { ...entry, lfs: { ...lfs, oid: "../evil" } }, /with id/],
    ["an LFS id of another kind", { ...entry, lfs: { ...lfs, oid: "0".repeat(40) } }, /with id/],
    ["no id", { type: "file", path: "x.json", size: 2 }, /with id \\"undefined/],
    ["a negative size", { ...entry, size: -1 }, /of size \\"-1/],
    ["a negative LFS size", { ...entry, lfs: { ...lfs, size: -1 } }, /of size \\"-1/],
    ["a size beyond 2^53", { ...entry, lfs: { ...lfs, size: 2 ** 60 } }, /of size/],
    ["a size that is a text", { ...entry, lfs: { ...lfs, size: "9000" } }, /of size/],
    ["a size that is a fraction", { ...entry, size: 1.5 }, /of size/],
    ["no size", { type: "file", path: "x.json", oid: entry.oid }, /of size \\"undefined/],
    ["a path that is a number", { ...entry, path: 7 }, /file \\"7/],
    ["no path", { type: "file", size: 2, oid: entry.oid }, /file \\"undefined/],
    [
      "the same path twice",
      { ...listingEntry(shard, Buffer.alloc(9000)) },
      /model-00001-of-00003\.safetensors\\" twice/,
    ],
  ];
  for (const [i, [name, added, sentence]] of cases.entries()) {
    test(name, async () => {
      hub.add(`org/unbelievable-${i}`, { files, listing: [...listingOf(files), added] });
      for (const [reader] of i === 0 ? readers : readers.slice(-1)) {
        const ended = await read(`org/unbelievable-${i}`, reader);
        assertRefused(ended, 5, /the Hub's answer cannot be used: /);
        assertRefused(ended, 5, sentence);
        assert.ok(ended.untouched, reader);
      }
    });
  }

  test("more files than any model has", async () => {
    const many = Array.from({ length: 100_000 }, (_, i) => ({ ...entry, path: `onnx/${i}` }));
    hub.add("org/many", { files, listing: [...listingOf(files), ...many] });
    hub.pageSize = 1_000_000;
    assertRefused(await read("org/many", "inspect"), 5, /more than 100000 files/);
  });

  test("another commit than the one that was asked for", async () => {
    const commit = "a".repeat(40);
    hub.add("org/other-commit", { files, revisions: ["main", commit] });
    const sentence = new RegExp(`commit ${commitOf("org/other-commit")} for ${commit}`);
    for (const reader of ["convert", "inspect"])
      assertRefused(await read(`org/other-commit@${commit}`, reader), 5, sentence);
  });

  test("entries that are nothing at all", async () => {
    for (const listing of [[null], [7], ["x"], [[]]] as unknown as object[][]) {
      hub.add("org/nothing", { files, listing });
      const ended = await read("org/nothing", "inspect");
      assert.ok(ended.code === 4 || ended.code === 5, ended.stderr);
      assertRefused(ended, ended.code, /Error: /);
    }
  });
});

describe("an index that contradicts its shards gives 4 before any weights are fetched:", () => {
  const name = "model.safetensors.index.json";
  const { weight_map } = JSON.parse(String(files[name])) as { weight_map: Readonly<Record<string, string>> };
  const [tensor = "", shard = ""] = Object.entries(weight_map)[0] ?? [];
  const other = Object.values(weight_map).find((file) => file !== shard) ?? "";
  const { [tensor]: _, ...without } = weight_map;
  const cases: readonly (readonly [name: string, weight_map: object, sentence: RegExp])[] = [
    ["another shard", { ...weight_map, [tensor]: other }, /is in "model-.*", by the index in "model-/],
    ["no shard", without, /is in "model-.*", by the index in no shard/],
    [
      "a shard for what none has",
      { ...weight_map, "x.weight": shard },
      /"x\.weight" is in no shard, by the index in "model-/,
    ],
  ];
  for (const [i, [what, changed, sentence]] of cases.entries()) {
    test(what, async () => {
      const index = Buffer.from(JSON.stringify({ weight_map: changed }));
      hub.add(`org/contradiction-${i}`, { files: { ...files, [name]: index } });
      for (const reader of ["inspect", "convert --stream"]) {
        const ended = await read(`org/contradiction-${i}`, reader);
        assertRefused(ended, 4, sentence);
        assert.ok(ended.untouched);
      }
    });
  }

  test("two shards with the same tensor", async () => {
    hub.add("org/contradiction", { files: { ...files, [other]: files[shard] ?? new Uint8Array(0) } });
    for (const reader of ["inspect", "convert --stream"])
      assertRefused(await read("org/contradiction", reader), 4, /is in "model-.*", by the index in "model-/);
  });
});

test("names that mean something to JavaScript are files like any other", async () => {
  const odd = Object.fromEntries(
    ["__proto__", "constructor", "toString", "hasOwnProperty"].map((name) => [
      name,
      Buffer.from(`{"${name}":1}`),
    ]),
  );
  const all = Object.assign(Object.create(null), files, odd);
  Object.defineProperty(all, "__proto__", { value: Buffer.from("mine"), enumerable: true });
  hub.add("org/names", { files: all });
  const out = join(scratch, "names");
  for (const more of [[], ["--stream"]]) {
    assertOk(await run(["convert", "org/names", "-o", `${out}${more}`, ...more], { cache: "names" }));
    const written = readdirSync(`${out}${more}`);
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"])
      assert.ok(written.includes(name), name);
  }
});
