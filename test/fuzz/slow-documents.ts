import { posix } from "node:path";
import type { SlowJson } from "./slow-json.ts";
import { member, NotStrict, plainOf, slowJson } from "./slow-json.ts";

/** The rules of FORMAT.md §9 on an index: tensor names to plain file names. @throws NotStrict */
export function slowIndex(bytes: Uint8Array): readonly (readonly [tensor: string, shard: string])[] {
  const root = slowJson(bytes);
  demand(root.kind === "object", "an object");
  const map = member(root, "weight_map");
  demand(map?.kind === "object" && map.members.length > 0, "a weight_map");
  return map.members.map(([tensor, shard]) => {
    demand(shard.kind === "string" && isPortableName(shard.text), "a plain file name");
    return [tensor, shard.text];
  });
}

const devices = new Set([
  "con",
  "prn",
  "aux",
  "nul",
  ..."0123456789".split("").flatMap((n) => [`com${n}`, `lpt${n}`]),
]);

/** A name that is one file of a directory on every system, letter by letter. */
function isPortableName(name: string): boolean {
  const letters = [...name];
  const reserved = letters.some((letter) => '/\\<>:"|?*'.includes(letter));
  const control = letters.some((letter) => {
    const code = letter.codePointAt(0) ?? 0;
    return code < 0x20 || (code >= 0x7f && code <= 0x9f);
  });
  const last = letters.at(-1);
  const device = devices.has((name.split(".")[0] ?? "").toLowerCase());
  const long = new TextEncoder().encode(name).length > 255;
  return last !== undefined && last !== "." && last !== " " && !reserved && !control && !device && !long;
}

/**
 * What the rest of the code relies on in a manifest (FORMAT.md §7), and that no path leaves the directory.
 * @returns its plain value
 * @throws NotStrict
 */
export function slowManifest(bytes: Uint8Array): unknown {
  const root = slowJson(bytes);
  const at = (value: SlowJson | undefined, ...keys: string[]): SlowJson | undefined =>
    keys.reduce<SlowJson | undefined>((found, key) => found && member(found, key), value);
  demand(root.kind === "object" && textOf(at(root, "format")) === "nestedfp", "a manifest");
  demand(textOf(at(root, "format_version"))?.split(".")[0] === "1", "format version 1");
  demand(textOf(at(root, "encoding", "id")) === "e4m3fn-rne-sat/1", "a known encoding");
  demand(textOf(at(root, "encoding", "lower_codec")) === "raw", "a known codec");
  demand(textOf(at(root, "tool", "version")) !== undefined, "a tool");
  const restorable = at(root, "restorable");
  demand(restorable?.kind === "literal" && restorable.value !== null, "restorable");
  const index = at(root, "source", "index");
  demand(isNull(index) || isInside(textOf(index), 1), "an index in the source");
  for (const file of itemsOf(at(root, "source", "files"))) {
    demand(isInside(textOf(at(file, "path")), 1), "a source file");
    checkPair(file);
    demand(
      isCount(at(file, "size")) && isHex(at(file, "sha256"), 64) && isHex(at(file, "header_sha256"), 64),
      "its digests",
    );
  }
  for (const file of itemsOf(at(root, "source", "omitted"))) {
    demand(
      textOf(at(file, "path")) !== undefined && textOf(at(file, "reason")) !== undefined,
      "an omitted file",
    );
  }
  for (const file of itemsOf(at(root, "files"))) {
    const role = textOf(at(file, "role"));
    const path = textOf(at(file, "path"));
    demand(role !== undefined && isInside(path, 3), "a path inside");
    demand(role !== "source" || /^nestedfp\/source\/[^/]+$/.test(path ?? ""), "a copy of the source");
    demand(isCount(at(file, "size")) && isHex(at(file, "sha256"), 64), "its digest");
  }
  for (const tensor of itemsOf(at(root, "tensors"))) checkTensor(tensor, at);
  const summary = at(root, "summary");
  for (const key of ["split", "kept", "split_bytes", "kept_bytes"]) demand(isCount(at(summary, key)), key);
  demand(isAmount(at(summary, "coverage")), "coverage");
  const reasons = at(summary, "reasons");
  demand(reasons?.kind === "object" && reasons.members.every(([, count]) => isCount(count)), "reasons");
  return plainOf(root);
}

type At = (value: SlowJson | undefined, ...keys: string[]) => SlowJson | undefined;

function checkTensor(tensor: SlowJson, at: At): void {
  demand(
    textOf(at(tensor, "name")) !== undefined && isInside(textOf(at(tensor, "file")), 1),
    "a tensor of a shard",
  );
  demand(known.includes(textOf(at(tensor, "dtype")) ?? ""), "a known dtype");
  demand(itemsOf(at(tensor, "shape")).every(isCount), "a shape");
  const offsets = itemsOf(at(tensor, "offsets"));
  demand(offsets.length === 2 && offsets.every(isCount), "offsets");
  for (const key of ["max_shift", "patches", "inexact", "underflow"]) demand(isCount(at(tensor, key)), key);
  demand(isNull(at(tensor, "max_abs")) || isAmount(at(tensor, "max_abs")), "max_abs");
  demand(isNull(at(tensor, "reason")) || textOf(at(tensor, "reason")) !== undefined, "reason");
  const wanted = ["source"];
  const planes = at(tensor, "planes");
  if (!isNull(planes)) {
    demand(planes?.kind === "object", "planes");
    checkPair(planes);
    wanted.push("upper", "scale", "lower");
    if (plainOf(at(tensor, "patches") ?? tensor) !== 0) wanted.push("patch_index", "patch_value");
  }
  for (const key of wanted) demand(isHex(at(tensor, "crc32", key), 8), `crc32 ${key}`);
}

const known =
  "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64".split(
    " ",
  );

function checkPair(value: SlowJson): void {
  const [upper, lower] = [textOf(member(value, "upper")), textOf(member(value, "lower"))];
  demand(isInside(upper, 1) && /^model-\d{5,}-of-\d{5,}\.safetensors$/.test(upper ?? ""), "an upper file");
  demand(isInside(lower, 2) && /^nestedfp\/lower-\d{5,}-of-\d{5,}\.nfp$/.test(lower ?? ""), "a lower file");
}

/** Whether a path stays below the directory it is joined to, at most `levels` down, each a name that a file can have. */
function isInside(path: string | undefined, levels: number): boolean {
  if (path === undefined || path.includes("\0")) return false;
  const parts = path.split("/");
  const joined = posix.resolve("/directory", path);
  const isOwn = ["", "nestedfp", "nestedfp/source"].includes(parts.slice(0, -1).join("/"));
  const short = parts.every((part) => [...part].length <= 255);
  return joined === `/directory/${path}` && isOwn && parts.length <= levels && short;
}

function textOf(value: SlowJson | undefined): string | undefined {
  return value?.kind === "string" ? value.text : undefined;
}

function itemsOf(value: SlowJson | undefined): readonly SlowJson[] {
  demand(value?.kind === "array", "a list");
  return value.items;
}

function isNull(value: SlowJson | undefined): boolean {
  return value?.kind === "literal" && value.value === null;
}

/** Any spelling of a whole number that a double holds exactly. */
function isCount(value: SlowJson | undefined): boolean {
  return (
    value?.kind === "number" && Number.isSafeInteger(Number(value.literal)) && Number(value.literal) >= 0
  );
}

function isAmount(value: SlowJson | undefined): boolean {
  return value?.kind === "number" && Number(value.literal) >= 0;
}

function isHex(value: SlowJson | undefined, digits: number): boolean {
  const text = textOf(value);
  return text?.length === digits && [...text].every((letter) => "0123456789abcdef".includes(letter));
}

function demand(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new NotStrict(rule);
}
