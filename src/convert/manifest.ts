import { sep } from "node:path";
import { FormatError } from "../errors.ts";
import type { Dtype } from "../safetensors/dtype.ts";
import { isDtype } from "../safetensors/dtype.ts";
import type { PlainJson } from "../safetensors/json.ts";
import { parsePlain } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";
import type { Reason } from "./plan.ts";
import { formatVersion } from "./quantization-config.ts";

export const manifestName = "nestedfp/manifest.json";

/** What a file of the directory is for. `verbatim`: of the source, unchanged; `source`: its copy under nestedfp/. */
export type FileRole = "config" | "index" | "upper" | "lower" | "source" | "verbatim";

export type ManifestFile = {
  readonly path: string;
  readonly role: FileRole;
  readonly size: number;
  readonly sha256: string;
};

export type SourceFile = {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  readonly header_sha256: string;
  /** The pair of files that hold it. */
  readonly upper: string;
  readonly lower: string;
};

/** CRC-32 of each stored array of a split tensor, as 8 hexadecimal digits. */
export type PlaneChecksums = {
  readonly upper: string;
  readonly scale: string;
  readonly lower: string;
  readonly patch_index?: string;
  readonly patch_value?: string;
};

export type ManifestTensor = {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Source shard that holds it, and where in its data. */
  readonly file: string;
  readonly offsets: readonly [number, number];
  /** Of the source bytes, and of what a split tensor is stored as; 8 hexadecimal digits each. */
  readonly crc32: { readonly source: string } & Partial<PlaneChecksums>;
  /** The files that hold its planes; null for a tensor that is not split. */
  readonly planes: { readonly upper: string; readonly lower: string } | null;
  /** null for a dtype that is not measured, and when the tensor holds a NaN or an infinity. */
  readonly max_abs: number | null;
  /** Of a tensor that could be split, also if it was kept; 16 where a row needs more than 15. */
  readonly max_shift: number;
  readonly patches: number;
  /** Words that the planes alone do not keep, and those of them that become zero; also of kept tensors. */
  readonly inexact: number;
  readonly underflow: number;
  readonly reason: Reason | null;
};

export type Manifest = {
  readonly format: "nestedfp";
  readonly format_version: string;
  readonly tool: { readonly name: string; readonly version: string };
  readonly encoding: {
    readonly id: string;
    readonly max_abs_exclusive: number;
    readonly lower_codec: string;
  };
  readonly restorable: boolean;
  readonly source: {
    readonly repo: string | null;
    readonly revision: string | null;
    readonly dtype: string | null;
    readonly index: string | null;
    readonly files: readonly SourceFile[];
    readonly omitted: readonly { readonly path: string; readonly reason: string }[];
  };
  readonly files: readonly ManifestFile[];
  readonly tensors: readonly ManifestTensor[];
  readonly summary: Summary;
};

/** Everything but the list of tensors, which may be long. */
export type ManifestHead = Omit<Manifest, "tensors">;

export type Summary = {
  readonly split: number;
  readonly kept: number;
  readonly split_bytes: number;
  readonly kept_bytes: number;
  /** Split words over words that could be hoped to be split (FORMAT.md §5). */
  readonly coverage: number;
  readonly reasons: Readonly<Partial<Record<Reason, number>>>;
};

export const encoding = { id: "e4m3fn-rne-sat/1", max_abs_exclusive: 1.875, lower_codec: "raw" } as const;

export function crcText(crc32: number): string {
  return crc32.toString(16).padStart(8, "0");
}

/**
 * The text of a manifest: sorted keys, two spaces, a final newline, so that the same value gives the same bytes. In
 * parts, and tensor by tensor, as a model of many experts has a hundred thousand of them.
 */
export function* manifestText(head: ManifestHead, tensors: Iterable<ManifestTensor>): Generator<string> {
  const indented = (value: unknown, indent: string): string =>
    JSON.stringify(sortKeys(value), null, 2).replaceAll("\n", `\n${indent}`);
  const keys = [...Object.keys(head), "tensors"].sort();
  for (const [i, key] of keys.entries()) {
    yield `${i === 0 ? "{" : ","}\n  ${JSON.stringify(key)}: `;
    if (key !== "tensors") {
      yield indented(head[key as keyof typeof head], "  ");
      continue;
    }
    let separator = "[\n    ";
    for (const tensor of tensors) {
      yield separator + indented(tensor, "    ");
      separator = ",\n    ";
    }
    yield separator.startsWith("[") ? "[]" : "\n  ]";
  }
  yield "\n}\n";
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, sortKeys(member)]));
}

/** A manifest that is whole but of another version of the format: not damage, but nothing to go on with. */
export class UnknownVersionError extends FormatError {}

/**
 * Reads a manifest and checks everything that the rest of the code relies on.
 *
 * @throws UnknownVersionError for a major version, encoding or codec that this nestedfp does not know.
 * @throws FormatError for damage.
 */
export function parseManifest(bytes: Uint8Array, label: string): Manifest {
  const check = new ShapeCheck(label);
  const root = check.object(parsePlain(bytes, label), "manifest");
  if (root.format !== "nestedfp") throw check.fail("format", '"nestedfp"', root.format);
  const version = check.string(root.format_version, "format_version");
  const id = check.object(root.encoding, "encoding");
  refuseUnknown(label, "format version", version.split(".")[0], formatVersion.split(".")[0]);
  refuseUnknown(label, "encoding", check.string(id.id, "encoding.id"), encoding.id);
  refuseUnknown(
    label,
    "lower codec",
    check.string(id.lower_codec, "encoding.lower_codec"),
    encoding.lower_codec,
  );
  check.string(check.object(root.tool, "tool").version, "tool.version");
  const source = check.object(root.source, "source");
  check.nullableString(source.index, "source.index", plainName);
  for (const [i, file] of check.array(source.files, "source.files").entries())
    checkSourceFile(check, file, i);
  for (const [i, file] of check.array(source.omitted, "source.omitted").entries()) {
    const at = `source.omitted[${i}]`;
    const { path, reason } = check.object(file, at);
    check.string(path, `${at}.path`);
    check.string(reason, `${at}.reason`);
  }
  for (const [i, file] of check.array(root.files, "files").entries()) checkFile(check, file, i);
  for (const [i, tensor] of check.array(root.tensors, "tensors").entries()) checkTensor(check, tensor, i);
  if (typeof root.restorable !== "boolean") throw check.fail("restorable", "true or false", root.restorable);
  checkSummary(check, check.object(root.summary, "summary"));
  return root as unknown as Manifest;
}

function refuseUnknown(
  label: string,
  what: string,
  actual: string | undefined,
  known: string | undefined,
): void {
  if (actual === known) return;
  throw new UnknownVersionError(
    `${label} has ${what} ${quote(actual ?? "")}, and this nestedfp reads ${quote(known ?? "")}`,
    {
      hint: "a newer nestedfp may read it",
    },
  );
}

type Members = { readonly [key: string]: PlainJson | undefined };

function checkSourceFile(check: ShapeCheck, value: PlainJson, i: number): void {
  const at = `source.files[${i}]`;
  const file = check.object(value, at);
  check.string(file.path, `${at}.path`, plainName);
  check.count(file.size, `${at}.size`);
  check.string(file.sha256, `${at}.sha256`, sha256Text);
  check.string(file.header_sha256, `${at}.header_sha256`, sha256Text);
  check.string(file.upper, `${at}.upper`, upperName);
  check.string(file.lower, `${at}.lower`, lowerName);
}

function checkSummary(check: ShapeCheck, summary: Members): void {
  for (const key of ["split", "kept", "split_bytes", "kept_bytes"] as const)
    check.count(summary[key], `summary.${key}`);
  check.amount(summary.coverage, "summary.coverage");
  for (const [reason, count] of Object.entries(check.object(summary.reasons, "summary.reasons")))
    check.count(count, `summary.reasons.${reason}`);
}

function checkFile(check: ShapeCheck, value: PlainJson, i: number): void {
  const at = `files[${i}]`;
  const file = check.object(value, at);
  const role = check.string(file.role, `${at}.role`);
  check.string(file.path, `${at}.path`, role === "source" ? sourceCopy : listedPath);
  check.count(file.size, `${at}.size`);
  check.string(file.sha256, `${at}.sha256`, sha256Text);
}

function checkTensor(check: ShapeCheck, value: PlainJson, i: number): void {
  const at = `tensors[${i}]`;
  const tensor = check.object(value, at);
  check.string(tensor.name, `${at}.name`);
  check.string(tensor.file, `${at}.file`, plainName);
  const dtype = check.string(tensor.dtype, `${at}.dtype`);
  if (!isDtype(dtype)) throw check.fail(`${at}.dtype`, "a safetensors dtype", dtype);
  for (const size of check.array(tensor.shape, `${at}.shape`)) check.count(size, `${at}.shape`);
  const offsets = check.array(tensor.offsets, `${at}.offsets`);
  if (offsets.length !== 2) throw check.fail(`${at}.offsets`, "two offsets", tensor.offsets);
  for (const offset of offsets) check.count(offset, `${at}.offsets`);
  for (const key of ["max_shift", "patches", "inexact", "underflow"] as const)
    check.count(tensor[key], `${at}.${key}`);
  if (tensor.max_abs !== null) check.amount(tensor.max_abs, `${at}.max_abs`);
  if (tensor.reason !== null) check.string(tensor.reason, `${at}.reason`);
  const checksums = check.object(tensor.crc32, `${at}.crc32`);
  const wanted = ["source"];
  if (tensor.planes !== null) {
    const planes = check.object(tensor.planes, `${at}.planes`);
    check.string(planes.upper, `${at}.planes.upper`, upperName);
    check.string(planes.lower, `${at}.planes.lower`, lowerName);
    wanted.push("upper", "scale", "lower");
    if (tensor.patches !== 0) wanted.push("patch_index", "patch_value");
  }
  for (const key of wanted) check.string(checksums[key], `${at}.crc32.${key}`, crc32Text);
}

type TextRule = { readonly pattern: RegExp; readonly what: string };
const sha256Text: TextRule = { pattern: /^[0-9a-f]{64}$/, what: "64 hexadecimal digits" };
const crc32Text: TextRule = { pattern: /^[0-9a-f]{8}$/, what: "8 hexadecimal digits" };
// No manifest may lead out of its directory: these are joined to paths that are read and written.
// A backslash is a letter of a name like any other, save where it separates folders.
const fileName = String.raw`(?!\.\.?$)[^/${sep === "\\" ? "\\\\" : ""}\0]{1,255}`;
const plainName: TextRule = { pattern: new RegExp(`^${fileName}$`, "u"), what: "a plain file name" };
const listedPath: TextRule = {
  pattern: new RegExp(`^(nestedfp/(source/)?)?${fileName}$`, "u"),
  what: "a path below the directory",
};
const sourceCopy: TextRule = {
  pattern: new RegExp(`^nestedfp/source/${fileName}$`, "u"),
  what: "a path below nestedfp/source",
};
const upperName: TextRule = {
  pattern: /^model-\d{5,}-of-\d{5,}\.safetensors$/,
  what: "model-0000i-of-0000N.safetensors",
};
const lowerName: TextRule = {
  pattern: /^nestedfp\/lower-\d{5,}-of-\d{5,}\.nfp$/,
  what: "nestedfp/lower-0000i-of-0000N.nfp",
};

class ShapeCheck {
  readonly #label: string;

  constructor(label: string) {
    this.#label = label;
  }

  fail(where: string, wanted: string, actual: unknown): FormatError {
    const shown =
      actual === undefined
        ? "nothing"
        : quote(String(typeof actual === "object" ? JSON.stringify(actual) : actual));
    return new FormatError(`${this.#label}: ${where} is ${shown}, not ${wanted}`, {
      hint: "the manifest is damaged: convert again, or fetch the file again",
    });
  }

  object(value: PlainJson | undefined, where: string): Members {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw this.fail(where, "an object", value);
    return value;
  }

  array(value: PlainJson | undefined, where: string): PlainJson[] {
    if (!Array.isArray(value)) throw this.fail(where, "a list", value);
    return value;
  }

  string(value: PlainJson | undefined, where: string, rule?: TextRule): string {
    if (typeof value !== "string") throw this.fail(where, rule?.what ?? "a string", value);
    if (rule && !rule.pattern.test(value)) throw this.fail(where, rule.what, value);
    return value;
  }

  nullableString(value: PlainJson | undefined, where: string, rule: TextRule): void {
    if (value !== null) this.string(value, where, rule);
  }

  count(value: PlainJson | undefined, where: string): number {
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.fail(where, "a count", value);
    return value as number;
  }

  amount(value: PlainJson | undefined, where: string): void {
    if (typeof value !== "number" || !(value >= 0)) throw this.fail(where, "a number from 0", value);
  }
}
