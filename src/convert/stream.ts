import { rm } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { FormatError, NetworkError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import { openShard } from "../safetensors/reader.ts";
import type { RunSettings } from "./analyse.ts";
import { planScanned, scannedTensors, warnOfFusedExperts } from "./analyse.ts";
import type { ConvertOptions, ConvertResult, Tool } from "./convert.ts";
import { refuseOtherContent, resultOf } from "./convert.ts";
import { step } from "./events.ts";
import { finishDirectory } from "./finish-directory.ts";
import { finishedEarlier } from "./finished-earlier.ts";
import { pairFileNames, refuseCollisions } from "./layout.ts";
import { PairMaker, type Place } from "./make-pair.ts";
import { makeRoom } from "./make-room.ts";
import type { ManifestHead } from "./manifest.ts";
import { OutputDirectory } from "./output-directory.ts";
import { makeOwnFolder } from "./own-folder.ts";
import type { ConversionPlan, HeaderRules } from "./plan.ts";
import { headerRules, planByHeaders } from "./plan.ts";
import { restoreShard } from "./restore.ts";
import type { RunContext } from "./run-context.ts";
import { BlockBuffers } from "./run-context.ts";
import type { PairRecord } from "./run-record.ts";
import { planSha256, RunRecord } from "./run-record.ts";
import type { ShardScan } from "./scan.ts";
import { scanShard } from "./scan.ts";
import type { Origin, ReadBeside, ShardView, SourceView } from "./source.ts";
import { viewSource } from "./source.ts";
import { chooseSourceRoot } from "./source-root.ts";
import { streamPeak } from "./stream-peak.ts";

/** A checkpoint in a repository, of which only headers were read. */
export type RemoteSource = {
  readonly origin: Origin & { readonly files: NonNullable<Origin["files"]> };
  readonly index: { readonly name: string } | undefined;
  /** By file name, in UTF-8 order. `version` is different for different contents. */
  readonly shards: readonly (ShardView & { readonly version: string })[];
  readonly read: ReadBeside;
  /** Brings a file, whole and checked, to the path `target`; goes on with what an earlier call left there. */
  fetch(path: string, target: string, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<void>;
};

/**
 * Converts a checkpoint from the Hub one shard at a time: fetch, scan, split, verify, drop. A fusion group may span
 * shards: a tensor that was split before a later shard showed that its group cannot be is put back from its own
 * planes. The result is, byte for byte, that of a conversion of the whole checkpoint.
 *
 * @throws as `convert`, and NetworkError; what was fetched and split stays for `--resume` then
 */
export async function convertStream(
  remote: RemoteSource,
  output: string,
  options: ConvertOptions,
  tool: Tool,
  settings: RunSettings,
): Promise<ConvertResult> {
  const started = performance.now();
  const rules = headerRules(tensorsOf(remote), options.plan);
  if (options.existing === "resume") {
    const { origin } = remote;
    const manifest = await finishedEarlier(output, { origin }, rules, options.plan, tool, settings);
    if (manifest) return resultOf(output, manifest, "quick", started);
  }
  const directory = await OutputDirectory.open(output, options.existing, "convert");
  try {
    const manifest = await new Stream(remote, directory, options, tool, settings, rules).run();
    await directory.finish();
    return resultOf(output, manifest, options.verify, started);
  } catch (error) {
    await directory.abandon(settings.signal.aborted || error instanceof NetworkError);
    throw error;
  }
}

function tensorsOf({ shards }: Pick<RemoteSource, "shards">): ShardView["header"]["tensors"] {
  return shards.flatMap(({ header }) => header.tensors);
}

/** One streamed conversion into a locked directory. */
class Stream {
  readonly #remote: RemoteSource;
  readonly #directory: OutputDirectory;
  readonly #options: ConvertOptions;
  readonly #tool: Tool;
  readonly #settings: RunSettings;
  readonly #rules: HeaderRules;
  readonly #record: RunRecord;
  readonly #maker: PairMaker;
  readonly #buffers: BlockBuffers;
  readonly #scans: (ShardScan | undefined)[];

  constructor(
    remote: RemoteSource,
    directory: OutputDirectory,
    options: ConvertOptions,
    tool: Tool,
    settings: RunSettings,
    rules: HeaderRules,
  ) {
    this.#remote = remote;
    this.#directory = directory;
    this.#options = options;
    this.#tool = tool;
    this.#settings = settings;
    this.#rules = rules;
    this.#record = new RunRecord(directory);
    this.#maker = new PairMaker(directory, this.#record, options.verify, settings);
    this.#buffers = new BlockBuffers(settings.budget.blockBytes);
    this.#scans = remote.shards.map(() => undefined);
  }

  async run(): Promise<ManifestHead> {
    const { shards, origin } = this.#remote;
    if (this.#options.existing === "force") await this.#directory.removeRecords();
    await this.#record.begin(this.#tool.version, this.#options.plan, shards, origin.revision);
    const bytes = shards.reduce((sum, { size }) => sum + size, 0);
    this.#settings.listener({ type: "total", bytes: bytes * (this.#options.verify === "full" ? 5 : 3) });
    const source = await this.#fetchRoot();
    await this.#prepare(source);

    const pairs: PairRecord[] = [];
    for (const index of shards.keys()) pairs.push(await this.#convertShard(index));
    const scans = this.#scans as ShardScan[];
    const plan = planScanned(source.tensors, scans, this.#rules, this.#options.plan);
    for (const [index, shard] of shards.entries()) {
      if (pairs[index]?.planSha256 === planSha256(plan, shard)) continue;
      pairs[index] = await this.#rewrite(index, plan);
    }
    warnOfFusedExperts(source.tensors, plan, this.#settings.listener);
    const converted = { source, plan, scans, pairs, tool: this.#tool };
    return finishDirectory(this.#directory, converted, this.#settings);
  }

  /** Fetches the small files beside the shards, and refuses what the source or its headers cannot be. */
  async #fetchRoot(): Promise<SourceView> {
    const { origin, index, shards } = this.#remote;
    const root = this.#directory.recordPath("source");
    await makeOwnFolder(root);
    const { files } = chooseSourceRoot(
      this.#remote,
      origin.files.map(({ path }) => path),
    );
    for (const name of [...files, ...(index ? [index.name] : [])]) await this.#fetch(name, join(root, name));
    return viewSource({ root, index, shards }, `${origin.repo}@${origin.revision}`, origin);
  }

  async #prepare({ tensors }: SourceView): Promise<void> {
    const plan = planByHeaders(tensors, this.#rules, this.#options.plan);
    refuseCollisions(tensors, plan);
    // Without patches, of which nobody knows yet how few they are.
    const peak = streamPeak(this.#remote, plan, 0);
    await makeRoom(this.#directory, this.#record, this.#remote.shards.length, peak.total);
  }

  /** A shard's pair, by what is known when it is its turn. */
  async #convertShard(index: number): Promise<PairRecord> {
    const shard = this.#remoteShard(index);
    const scan = await this.#record.scanOfVersion(shard.version, index);
    const standing = scan && (await this.#maker.standing(shard, this.#place(index), scan));
    if (scan && standing) {
      this.#scans[index] = scan;
      return standing;
    }
    return this.#withFetched(index, async (fetched) => {
      this.#scans[index] = await this.#scan(fetched, index);
      const scanned = scannedTensors(this.#scans.filter((known) => known !== undefined));
      const scanOf = (name: string) => scanned.get(name)?.floats;
      const plan = planByHeaders(tensorsOf(this.#remote), this.#rules, this.#options.plan, scanOf);
      return this.#make(fetched, index, plan);
    });
  }

  /** Writes a pair again under other decisions, from itself where it has every word. */
  async #rewrite(index: number, plan: ConversionPlan): Promise<PairRecord> {
    const path = this.#shardPath(index);
    const scan = this.#scanOf(index);
    if (this.#isLossless(index)) {
      await this.#restore(index, scan, path);
      return this.#withShard(path, index, (shard) => this.#make(shard, index, plan));
    }
    return this.#withFetched(index, (shard) => this.#make(shard, index, plan));
  }

  /** Rebuilds a source shard from its pair, which must give the very bytes that were fetched. */
  async #restore(index: number, { sha256 }: ShardScan, path: string): Promise<void> {
    const { name, size } = this.#remoteShard(index);
    const file = { path: name, size, sha256, ...pairFileNames(index, this.#remote.shards.length) };
    await step(this.#settings.listener, "rebuild", name, size, (onBytes) =>
      restoreShard(this.#directory.path, file, `${path}.tmp`, { ...this.#context(), onBytes }, (restored) =>
        restored.commit(path),
      ),
    );
  }

  async #scan(shard: Shard, index: number): Promise<ShardScan> {
    const isCandidate = (tensor: ShardView["header"]["tensors"][number]): boolean =>
      this.#rules(tensor) === undefined;
    const scan = await step(this.#settings.listener, "scan", shard.name, shard.size, (onBytes) =>
      scanShard(shard, isCandidate, { ...this.#context(), onBytes }),
    );
    refuseOtherContent([scan], this.#remote.origin);
    await this.#record.keepScanOfVersion(this.#remoteShard(index).version, index, scan);
    return scan;
  }

  #make(shard: Shard, index: number, plan: ConversionPlan): Promise<PairRecord> {
    const { buffers, signal } = this.#context();
    return this.#maker.make(shard, this.#place(index), this.#scanOf(index), plan, { buffers, signal });
  }

  async #withFetched<T>(index: number, work: (shard: Shard) => Promise<T>): Promise<T> {
    const path = this.#shardPath(index);
    await this.#fetch(this.#remoteShard(index).name, path);
    return this.#withShard(path, index, work);
  }

  /** Opens a source shard that is here for a while, and removes it after `work`, whatever becomes of that. */
  async #withShard<T>(path: string, index: number, work: (shard: Shard) => Promise<T>): Promise<T> {
    const { name, header } = this.#remoteShard(index);
    const shard = await openShard(path, name);
    try {
      if (!isDeepStrictEqual(shard.header.tensors, header.tensors)) {
        throw new FormatError(
          `${quote(name)}: its header is not the one that was read before it was fetched`,
          {
            hint: "the server answers differently each time: do not trust it",
          },
        );
      }
      return await work(shard);
    } finally {
      await shard.close();
      await rm(path, { force: true });
    }
  }

  async #fetch(name: string, target: string): Promise<void> {
    const size = this.#remote.shards.find((shard) => shard.name === name)?.size ?? 0;
    const { listener, signal } = this.#settings;
    await step(listener, "fetch", name, size, (onBytes) =>
      this.#remote.fetch(name, target, signal, size > 0 ? onBytes : () => undefined),
    );
  }

  /** Whether every split tensor of a pair comes back from it. */
  #isLossless(index: number): boolean {
    const floats = new Map(this.#scanOf(index).tensors.map((tensor) => [tensor.name, tensor.floats]));
    const { bf16, allowLossy } = this.#options.plan;
    return this.#remoteShard(index).header.tensors.every(
      ({ name, dtype }) =>
        !(allowLossy && dtype === "F32") &&
        !(bf16 === "lossy" && dtype === "BF16" && (floats.get(name)?.inexact ?? 0) > 0),
    );
  }

  #context(): Omit<RunContext, "onBytes"> {
    const { codec, signal } = this.#settings;
    return { codec, signal, buffers: this.#buffers };
  }

  #place(index: number): Place {
    return { index, count: this.#remote.shards.length };
  }

  /** No .tmp: what was fetched survives an interruption. */
  #shardPath(index: number): string {
    return this.#directory.recordPath(`shard-${index}.safetensors`);
  }

  #remoteShard(index: number): RemoteSource["shards"][number] {
    const shard = this.#remote.shards[index];
    if (shard === undefined) throw new Error(`no shard ${index}`);
    return shard;
  }

  #scanOf(index: number): ShardScan {
    const scan = this.#scans[index];
    if (scan === undefined) throw new Error(`no scan of shard ${index}`);
    return scan;
  }
}
