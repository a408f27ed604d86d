import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { FormatError } from "../errors.ts";
import type { SafetensorsHeader } from "../safetensors/header.ts";
import { tensorBytes } from "../safetensors/header.ts";
import { readIndex } from "../safetensors/index-file.ts";
import type { PlainJson } from "../safetensors/json.ts";
import { parseJson, toPlain } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";
import { openShard, readWholeFile } from "../safetensors/reader.ts";
import type { Problem, ProblemKind } from "./check-pair.ts";
import type { ConvertedDirectory } from "./converted-directory.ts";
import type { Decision, PairLayout } from "./layout.ts";
import { layoutPair } from "./layout.ts";
import type { NamedTensor } from "./linear-names.ts";
import type { Manifest, ManifestTensor } from "./manifest.ts";
import { pairMetadata } from "./pair-metadata.ts";
import { ignoreList, quantizationConfig, quantizationMistakes } from "./quantization-config.ts";
import { weightIndexName } from "./weight-index.ts";

const largestConfig = 16 * 1024 * 1024;

/** Headers of all usable pairs, the index, and config.json, each against the manifest. */
export async function checkStructure(
  { path, manifest }: ConvertedDirectory,
  usable: ReadonlySet<string>,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  const upperTensors = new Map<string, readonly NamedTensor[]>();
  for (const [i, source] of manifest.source.files.entries()) {
    const layout = expectedLayout(manifest, source.path, source.size);
    for (const role of ["upper", "lower"] as const) {
      const file = source[role];
      if (role === "upper") upperTensors.set(file, layout.upper);
      if (!usable.has(file)) continue;
      await collect(problems, file, "header", async () => {
        const shard = await openShard(join(path, file), file);
        await shard.close();
        const metadata = pairMetadata(role, i, manifest.source.files.length, source.sha256);
        return compareHeader(shard.header, layout[role], metadata);
      });
    }
  }
  if (usable.has(weightIndexName)) {
    await collect(problems, weightIndexName, "index", () =>
      checkIndex(join(path, weightIndexName), upperTensors),
    );
  }
  if (usable.has("config.json")) {
    const written = [...upperTensors.values()].flat();
    await collect(problems, "config.json", "config", () => checkConfig(path, manifest, written, usable));
  }
  return problems;
}

type Finding = { readonly tensor?: string; readonly message: string };

/** Adds what a check of one file finds; a file that cannot be parsed is one finding. */
async function collect(
  problems: Problem[],
  file: string,
  kind: ProblemKind,
  check: () => Promise<readonly Finding[]>,
): Promise<void> {
  try {
    for (const finding of await check()) problems.push({ file, kind, ...finding });
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    problems.push({ file, kind, message: error.message });
  }
}

/** What the two files of a source shard hold, by the manifest. */
function expectedLayout(manifest: Manifest, sourceFile: string, sourceSize: number): PairLayout {
  const tensors = manifest.tensors.filter((tensor) => tensor.file === sourceFile);
  const decisions = new Map(tensors.map((tensor) => [tensor.name, decisionOf(tensor)]));
  const dataBytes = tensors.reduce((end, tensor) => Math.max(end, tensor.offsets[1]), 0);
  return layoutPair(
    { tensors, headerBytes: sourceSize - dataBytes },
    (name) => decisions.get(name) ?? { action: "keep", patches: 0 },
  );
}

function decisionOf(tensor: ManifestTensor): Decision {
  return { action: tensor.planes === null ? "keep" : "nest", patches: tensor.patches };
}

async function compareHeader(
  header: SafetensorsHeader,
  expected: readonly NamedTensor[],
  metadata: ReadonlyMap<string, string>,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [key, value] of metadata) {
    const actual = header.metadata?.get(key);
    // A file of a later minor version is welcome, so its version may differ.
    if (actual === value || key === "nestedfp.format_version") continue;
    findings.push({ message: `metadata ${key} is ${quote(actual ?? "")}, not ${quote(value)}` });
  }
  const wanted = new Map(expected.map((tensor) => [tensor.name, tensor]));
  for (const { name, dtype, shape } of header.tensors) {
    const tensor = wanted.get(name);
    wanted.delete(name);
    if (tensor === undefined)
      findings.push({ tensor: name, message: "is in the file, but not in the manifest" });
    else if (tensor.dtype !== dtype || tensor.shape.join() !== shape.join()) {
      const message = `is ${dtype} [${shape}], by the manifest ${tensor.dtype} [${tensor.shape}]`;
      findings.push({ tensor: name, message });
    }
  }
  for (const name of wanted.keys())
    findings.push({ tensor: name, message: "is in the manifest, but not in the file" });
  return findings;
}

async function checkIndex(
  path: string,
  upper: ReadonlyMap<string, readonly NamedTensor[]>,
): Promise<Finding[]> {
  const { weightMap, metadata } = await readIndex(path);
  const findings: Finding[] = [];
  const unseen = new Map(weightMap);
  let totalSize = 0;
  for (const [file, tensors] of upper) {
    for (const { name, dtype, shape } of tensors) {
      totalSize += tensorBytes(dtype, shape);
      const named = unseen.get(name);
      unseen.delete(name);
      if (named === file) continue;
      const message =
        named === undefined ? "is not in the index" : `is said to be in ${quote(named)}, not ${quote(file)}`;
      findings.push({ tensor: name, message });
    }
  }
  for (const name of unseen.keys())
    findings.push({ tensor: name, message: "is in the index, but in no shard" });
  const stated = metadata instanceof Map ? toPlain(metadata.get("total_size") ?? null) : null;
  if (stated !== totalSize)
    findings.push({ message: `total_size is ${stated}, the tensors have ${totalSize} bytes` });
  return findings;
}

async function checkConfig(
  root: string,
  manifest: Manifest,
  written: readonly NamedTensor[],
  usable: ReadonlySet<string>,
): Promise<Finding[]> {
  const { quantization_config: actual, ...rest } = await readObject(join(root, "config.json"));
  const findings: Finding[] = [];
  const split = new Set(manifest.tensors.filter(({ planes }) => planes !== null).map(({ name }) => name));
  const ignore = ignoreList(manifest.tensors, (name) => split.has(name));
  findings.push(...quantizationMistakes(written, ignoredModules(actual)).map((message) => ({ message })));
  for (const [key, wanted] of Object.entries(quantizationConfig(ignore))) {
    const stated = isObject(actual) ? actual[key] : undefined;
    // A later minor version may say so here; everything else must be as written.
    if (key === "nestedfp" || sameJson(stated, wanted)) continue;
    findings.push({ message: `quantization_config.${key} is not what the manifest asks for` });
  }
  if (!usable.has("nestedfp/source/config.json")) return findings;
  const { quantization_config: _, ...source } = await readObject(join(root, "nestedfp/source/config.json"));
  for (const key of new Set([...Object.keys(rest), ...Object.keys(source)])) {
    if (sameJson(rest[key], source[key])) continue;
    findings.push({ message: `${quote(key)} differs from nestedfp/source/config.json` });
  }
  return findings;
}

function ignoredModules(quantization: PlainJson | undefined): string[] {
  const ignore = isObject(quantization) ? quantization.ignore : undefined;
  return Array.isArray(ignore) ? ignore.filter((entry) => typeof entry === "string") : [];
}

async function readObject(path: string): Promise<{ [key: string]: PlainJson }> {
  const value = toPlain(parseJson(await readWholeFile(path, largestConfig), "config.json", "python"));
  if (isObject(value)) return value;
  throw new FormatError("config.json is not a JSON object", { hint: "fetch the file again" });
}

function isObject(value: PlainJson | undefined): value is { [key: string]: PlainJson } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Equality of values, whatever the prototype of their objects. */
function sameJson(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(structuredClone(a), structuredClone(b));
}
