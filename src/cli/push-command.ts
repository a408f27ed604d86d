import { lstat, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { RunSettings } from "../convert/analyse.ts";
import type { ConvertedDirectory } from "../convert/converted-directory.ts";
import { openConverted } from "../convert/converted-directory.ts";
import { type Manifest, type ManifestHead, manifestName } from "../convert/manifest.ts";
import { sumsName } from "../convert/sums.ts";
import { verifyDirectory } from "../convert/verify.ts";
import { CheckError, FormatError, UsageError } from "../errors.ts";
import { type PushedFile, push } from "../hub/push.ts";
import { parseRepoReference, type RepoReference } from "../hub/repo-id.ts";
import { formatBytes, printable } from "../report/format.ts";
import { modelCard } from "../report/model-card.ts";
import { quote } from "../safetensors/quote.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { readEvaluation } from "./eval-report.ts";
import { readHubOptions } from "./hub-options.ts";
import type { PushFlags } from "./push.ts";
import { type Finished, type Outcome, runWork } from "./run.ts";
import { readTool } from "./tool.ts";

/** Verifies a converted directory and publishes the files of its manifest, and no others. */
export function pushCommand(path: string, repo: string, flags: PushFlags): Promise<Finished> {
  const reference = parseRepoReference(repo, flags.revision);
  if (reference === undefined) {
    throw new UsageError(`${quote(repo)} is no repository`, { hint: "write org/name" });
  }
  return runWork("push", flags, (settings) => run(path, reference, flags, settings));
}

async function run(
  path: string,
  reference: RepoReference,
  flags: PushFlags,
  settings: RunSettings,
): Promise<Outcome> {
  const evaluation = flags.evalReport === undefined ? undefined : await readEvaluation(flags.evalReport);
  const directory = await openConverted(path);
  const hasLower = await anyLower(directory);
  await refuseDamaged(path, !hasLower, settings);
  const { manifest } = directory;
  refuseOddSource(manifest.source, path);
  const listed = manifest.files.filter(({ role }) => hasLower || role !== "lower");
  const { name, version } = readTool();
  const card = modelCard({
    repo: reference.id,
    manifest,
    hasLower,
    licence: await sourceLicence(directory),
    verifiedFiles: listed.length,
    tool: `${name} ${version}`,
    evaluation,
  });
  const files = await filesToPush(
    directory,
    listed.map((file) => file.path),
    card,
  );
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const list = {
    repo: reference.id,
    branch: reference.revision,
    files: files.map(({ path: at, size }) => ({ path: at, size })),
  };
  if (flags.dryRun) {
    const lines = files.map((file) => `${printable(file.path)}  ${formatBytes(file.size)}`);
    const last = `${reference.id}: ${files.length} files, ${formatBytes(bytes)}; nothing was sent`;
    return {
      result: { ...list, card, commit: null },
      report: [...lines, "", ...card.split("\n").map(printable), last].join("\n"),
    };
  }
  const options = {
    title: flags.message ?? `NestedFP checkpoint (${name} ${version})`,
    isPrivate: flags.private,
    pullRequest: flags.createPr,
  };
  const pushed = await push(
    reference,
    files,
    options,
    readHubOptions(flags),
    settings.signal,
    progressOf(files, settings),
  );
  return {
    result: { ...list, card, ...pushed },
    report: `${reference.id}: ${files.length} files, ${formatBytes(bytes)}: ${printable(pushed.pullRequest ?? pushed.url)}`,
  };
}

async function anyLower({ path, manifest }: ConvertedDirectory): Promise<boolean> {
  const found = await Promise.all(
    manifest.source.files.map(({ lower }) => stat(join(path, lower)).catch(() => undefined)),
  );
  return found.some((status) => status !== undefined);
}

async function refuseDamaged(path: string, fp8Only: boolean, settings: RunSettings): Promise<void> {
  const { problems } = await verifyDirectory(path, { level: "default", fp8Only }, settings);
  const [first] = problems;
  if (first === undefined) return;
  throw new CheckError(
    `${quote(path)} does not pass verify: ${quote(first.file)} ${first.message} (${problems.length} problems)`,
    { hint: "convert again, or see all with `nestedfp verify DIR`" },
  );
}

/** What a manifest says of its source goes into the front matter of a card. @throws FormatError */
function refuseOddSource({ repo, revision }: (Manifest | ManifestHead)["source"], path: string): void {
  if (
    repo === null ||
    (/^[\w.-]{1,96}(?:\/[\w.-]{1,96})?$/.test(repo) && /^[0-9a-f]{40}$/.test(revision ?? ""))
  )
    return;
  throw new FormatError(
    `the manifest of ${quote(path)} names the source ${quote(repo)} at ${quote(String(revision))}, not a repository at a commit`,
    { hint: "convert again" },
  );
}

async function filesToPush(
  { path }: ConvertedDirectory,
  listed: readonly string[],
  card: string,
): Promise<PushedFile[]> {
  const files: PushedFile[] = [];
  for (const name of [...listed, manifestName, sumsName]) {
    await refuseLinked(path, name);
    const file = join(path, name);
    files.push({ path: name, size: (await stat(file)).size, content: { file } });
  }
  const made = { "README.md": Buffer.from(card), ".gitattributes": await attributesOf(path) };
  for (const [name, bytes] of Object.entries(made)) {
    if (bytes !== undefined) files.push({ path: name, size: bytes.length, content: { bytes } });
  }
  return files;
}

/** @throws FormatError for a file that is a link, or lies behind one: what it leads to may not be meant to be sent */
async function refuseLinked(path: string, name: string): Promise<void> {
  const parts = name.split("/");
  for (const [i] of parts.entries()) {
    const at = join(path, ...parts.slice(0, i + 1));
    if (!(await lstat(at)).isSymbolicLink()) continue;
    throw new FormatError(`${quote(at)} is a symbolic link, and push sends nothing through one`, {
      hint: "copy the directory without links, e.g. with `cp -rL`, if what they lead to may be published",
    });
  }
}

/** The one file that no sha256 covers, so not through a link: it could name anything. */
async function attributesOf(path: string): Promise<Uint8Array | undefined> {
  const file = join(path, ".gitattributes");
  const status = await lstat(file).catch(() => undefined);
  return status?.isFile() ? readFile(file) : undefined;
}

const licenceLine = /^license(?:_name|_link)?: (["']?)[\w./:+-]{1,200}\1$/;

/** The lines on its licence in the front matter of the source's card, as far as they are plain. */
async function sourceLicence({ path, manifest }: ConvertedDirectory): Promise<string[]> {
  const copy = "nestedfp/source/README.md";
  if (!manifest.files.some((file) => file.path === copy)) return [];
  const text = Buffer.from(await readWholeFile(join(path, copy), 16 * 1024 * 1024)).toString();
  const [, front = ""] = /^---\r?\n([\s\S]*?)\r?\n---(?:\r?\n|$)/.exec(text) ?? [];
  return front.split(/\r?\n/).filter((line) => licenceLine.test(line));
}

/** Shares of files as bytes of a run. */
function progressOf(files: readonly PushedFile[], { listener }: RunSettings): Parameters<typeof push>[5] {
  const sizes = new Map(files.map(({ path, size }) => [path, size]));
  const reached = new Map<string, number>();
  listener({ type: "total", bytes: 2 * files.reduce((sum, { size }) => sum + size, 0) });
  return (file, state, share) => {
    const phase = state === "hashing" ? "hash" : "upload";
    const size = sizes.get(file) ?? 0;
    const key = `${state} ${file}`;
    if (!reached.has(key)) listener({ type: "begin", phase, file, bytes: size });
    const bytes = Math.round(share * size);
    listener({ type: "bytes", phase, file, bytes: bytes - (reached.get(key) ?? 0) });
    reached.set(key, bytes);
    if (share >= 1) listener({ type: "end", phase, file });
  };
}
