import assert from "node:assert/strict";
import { test } from "node:test";
import type { Manifest } from "../../src/convert/manifest.ts";
import { crcText, manifestText, parseManifest, UnknownVersionError } from "../../src/convert/manifest.ts";
import { FormatError } from "../../src/errors.ts";

const hash = "0123456789abcdef".repeat(4);
const [upper, lower] = ["model-00001-of-00001.safetensors", "nestedfp/lower-00001-of-00001.nfp"];

const manifest: Manifest = {
  format: "nestedfp",
  format_version: "1.0",
  tool: { name: "nestedfp", version: "0.1.0" },
  encoding: { id: "e4m3fn-rne-sat/1", max_abs_exclusive: 1.875, lower_codec: "raw" },
  restorable: true,
  source: {
    repo: null,
    revision: null,
    dtype: "BF16",
    index: "model.safetensors.index.json",
    files: [{ path: "a.safetensors", size: 10, sha256: hash, header_sha256: hash, upper, lower }],
    omitted: [{ path: "original", reason: "sub-folder" }],
  },
  files: [
    { path: "nestedfp/source/config.json", role: "source", size: 2, sha256: hash },
    { path: upper, role: "upper", size: 2, sha256: hash },
  ],
  tensors: [
    {
      name: "a.o_proj.weight",
      dtype: "BF16",
      shape: [16, 16],
      file: "a.safetensors",
      offsets: [0, 512],
      crc32: {
        source: "00000001",
        upper: "00000002",
        scale: "00000003",
        lower: "00000004",
        patch_index: "00000005",
        patch_value: "00000006",
      },
      planes: { upper, lower },
      max_abs: 1.5,
      max_shift: 0,
      patches: 1,
      inexact: 1,
      underflow: 0,
      reason: null,
    },
  ],
  summary: { split: 1, kept: 0, split_bytes: 512, kept_bytes: 0, coverage: 1, reasons: { group: 1 } },
};

/** The manifest with the value at a path such as `files.0.size` replaced; undefined removes it. */
function changed(path: string, value: unknown): Uint8Array {
  const copy = structuredClone(manifest) as unknown as Record<string, unknown>;
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  let at = copy;
  for (const key of keys) at = at[key] as Record<string, unknown>;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return Buffer.from(JSON.stringify(copy));
}

test("a manifest is read back as it was written, with sorted keys", () => {
  const { tensors, ...head } = manifest;
  const text = [...manifestText(head, tensors)].join("");
  assert.deepEqual(structuredClone(parseManifest(Buffer.from(text), "m")), manifest);
  assert.equal(
    text,
    `${JSON.stringify(JSON.parse(text), null, 2)}\n`,
    "the layout is that of JSON.stringify",
  );
  const keys = [...text.matchAll(/^ {2}"(\w+)"/gm)].map(([, key]) => key);
  assert.deepEqual(keys, [...keys].sort());
});

const texts = ["format", "format_version", "encoding.id", "encoding.lower_codec", "tool.version"];
const counts = [
  "source.files.0.size",
  "files.0.size",
  "tensors.0.max_shift",
  "tensors.0.patches",
  "tensors.0.inexact",
  "tensors.0.underflow",
  "tensors.0.shape.0",
  "tensors.0.offsets.1",
  "summary.split",
  "summary.kept",
  "summary.split_bytes",
  "summary.kept_bytes",
  "summary.reasons.group",
];
const hashes = [
  "source.files.0.sha256",
  "source.files.0.header_sha256",
  "files.0.sha256",
  ...["source", "upper", "scale", "lower", "patch_index", "patch_value"].map(
    (key) => `tensors.0.crc32.${key}`,
  ),
];
const names = [
  "source.index",
  "source.files.0.path",
  "source.files.0.upper",
  "source.files.0.lower",
  "files.0.path",
  "files.1.path",
  "tensors.0.file",
  "tensors.0.planes.upper",
  "tensors.0.planes.lower",
];
const lists = ["source.files", "source.omitted", "files", "tensors", "tensors.0.shape", "tensors.0.offsets"];
const objects = [
  "encoding",
  "tool",
  "source",
  "summary",
  "summary.reasons",
  "tensors.0.crc32",
  "source.files.0",
  "files.0",
  "tensors.0",
  "source.omitted.0",
];

const wrongValues: readonly (readonly [paths: readonly string[], values: readonly unknown[]])[] = [
  [texts, [undefined, null, 1]],
  [counts, [undefined, null, -1, 1.5, "1", 2 ** 53]],
  [hashes, [undefined, null, "", "0", hash.toUpperCase(), `${hash}\n`]],
  [names, ["", ".", "..", "../a", "/etc/passwd", "a/b", "nestedfp/../a", "a\0b", "a".repeat(256), 1]],
  [lists, [undefined, null, {}, "a"]],
  [objects, [undefined, null, [], "a"]],
  [["files.0.path"], ["config.json", "nestedfp/source/..", "nestedfp/config.json", "0123456789abcdef.."]],
  [
    ["files.0.role", "tensors.0.name", "source.omitted.0.path", "source.omitted.0.reason"],
    [undefined, null, 1],
  ],
  [["tensors.0.dtype"], [undefined, "F17", "toString"]],
  [["tensors.0.offsets"], [[0], [0, 1, 2]]],
  [
    ["tensors.0.max_abs", "summary.coverage"],
    [undefined, "1", -1, {}],
  ],
  [["tensors.0.reason"], [undefined, 1]],
  [["restorable"], [undefined, null, "true", 1]],
];

for (const [paths, values] of wrongValues) {
  test(`a wrong ${paths.length > 4 ? `${paths[0]} and ${paths.length - 1} like it` : paths.join(", ")} is refused`, () => {
    for (const path of paths) {
      for (const value of values) {
        // A shorter list or record is as good as a longer one.
        if (value === undefined && /(\.\d|reasons\.group)$/.test(path)) continue;
        assert.throws(
          () => parseManifest(changed(path, value), "m"),
          (error) => {
            assert.ok(error instanceof FormatError, `${path} = ${JSON.stringify(value)}: ${error}`);
            assert.match(error.message, /^m[: ]/);
            return true;
          },
          `${path} = ${JSON.stringify(value)}`,
        );
      }
    }
  });
}

test("what is no JSON object is refused", () => {
  for (const text of ["", "garbage", "[]", "null", '{"format": "nestedfp", "format": "nestedfp"}', "{}"])
    assert.throws(() => parseManifest(Buffer.from(text), "m"), FormatError, text);
});

test("an unknown major version, encoding or codec is refused as such, a minor version is welcome", () => {
  for (const [path, value] of [
    ["format_version", "2.0"],
    ["format_version", "0.9"],
    ["encoding.id", "e4m3fn-rne-sat/2"],
    ["encoding.lower_codec", "zstd"],
  ] as const) {
    assert.throws(() => parseManifest(changed(path, value), "m"), UnknownVersionError, `${path} ${value}`);
  }
  assert.equal(parseManifest(changed("format_version", "1.7"), "m").format_version, "1.7");
  assert.equal(parseManifest(changed("tensors.0.later", 1), "m").tensors.length, 1);
});

test("checksums have eight digits", () => {
  assert.equal(crcText(1), "00000001");
  assert.equal(crcText(0xffff_ffff), "ffffffff");
});
