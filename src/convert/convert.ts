import { concurrently } from "../concurrency/concurrently.ts";
import { FormatError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { RunSettings } from "./analyse.ts";
import { plannedBytes, planScanned, scanCheckpoint, warnOfFusedExperts } from "./analyse.ts";
import { finishDirectory } from "./finish-directory.ts";
import { finishedEarlier } from "./finished-earlier.ts";
import { refuseCollisions } from "./layout.ts";
import { PairMaker } from "./make-pair.ts";
import { makeRoom } from "./make-room.ts";
import type { ManifestHead, Summary } from "./manifest.ts";
import type { ExistingPolicy } from "./output-directory.ts";
import { OutputDirectory } from "./output-directory.ts";
import type { PlanOptions } from "./plan.ts";
import { headerRules } from "./plan.ts";
import { BlockBuffers } from "./run-context.ts";
import { RunRecord } from "./run-record.ts";
import type { ShardScan } from "./scan.ts";
import type { Origin, Source, SourceLocation } from "./source.ts";
import { openSource, refuseOverlap } from "./source.ts";
import { warnOfUnreadable } from "./source-root.ts";

export type ConvertOptions = {
  readonly plan: PlanOptions;
  /** `full`: read back what was written, compare sha256, and rebuild every source word, before it gets its name. */
  readonly verify: "none" | "full";
  readonly existing: ExistingPolicy;
};

/** The tool that writes, as recorded in the manifest. */
export type Tool = { readonly name: string; readonly version: string };

export type ConvertResult = {
  readonly output: string;
  readonly split: number;
  readonly kept: number;
  readonly coverage: number;
  readonly restorable: boolean;
  readonly reasons: Summary["reasons"];
  /** What beside the shards was not copied, and why. */
  readonly omitted: ManifestHead["source"]["omitted"];
  /** File sizes. */
  readonly bytes: { readonly source: number; readonly upper: number; readonly lower: number };
  readonly verify: {
    readonly mode: "none" | "quick" | "full";
    readonly ok: boolean;
    readonly mismatches: number;
  };
  readonly seconds: number;
};

/**
 * Converts a checkpoint into a NestedFP directory (FORMAT.md). Memory is bounded by the settings' budget; a run
 * that is killed leaves only complete files, and `existing: "resume"` goes on with them.
 *
 * @throws FormatError, UsageError, MachineError; CheckError when what was written does not read back.
 */
export async function convert(
  location: SourceLocation,
  output: string,
  options: ConvertOptions,
  tool: Tool,
  settings: RunSettings,
): Promise<ConvertResult> {
  const started = performance.now();
  const source = await openSource(location);
  try {
    await refuseOverlap(source.checkpoint.root, output);
    warnOfUnreadable(source.root, settings.listener);
    const rules = headerRules(source.tensors, options.plan);
    if (options.existing === "resume") {
      const manifest = await finishedEarlier(output, location, rules, options.plan, tool, settings);
      if (manifest) return resultOf(output, manifest, "quick", started);
    }
    const directory = await OutputDirectory.open(output, options.existing, "convert");
    try {
      const manifest = await new Conversion(source, directory, options, tool, settings).run(rules);
      await directory.finish();
      return resultOf(output, manifest, options.verify, started);
    } catch (error) {
      await directory.abandon(settings.signal.aborted);
      throw error;
    }
  } finally {
    await source.checkpoint.close();
  }
}

/** A cache may have been damaged since its files were checked. @throws FormatError */
export function refuseOtherContent(scans: readonly ShardScan[], origin: Origin | undefined): void {
  const listed = new Map(origin?.files?.map(({ path, sha256 }) => [path, sha256]));
  for (const { file, sha256 } of scans) {
    const expected = listed.get(file) ?? sha256;
    if (expected === sha256) continue;
    throw new FormatError(`${quote(file)} in the cache has sha256 ${sha256}, the Hub lists ${expected}`, {
      hint: "the cached file is damaged: remove it and run this again",
    });
  }
}

export function resultOf(
  output: string,
  manifest: ManifestHead,
  mode: "none" | "quick" | "full",
  started: number,
): ConvertResult {
  const sizeOf = (role: string): number =>
    manifest.files.filter((file) => file.role === role).reduce((sum, file) => sum + file.size, 0);
  return {
    output,
    split: manifest.summary.split,
    kept: manifest.summary.kept,
    coverage: manifest.summary.coverage,
    restorable: manifest.restorable,
    reasons: manifest.summary.reasons,
    omitted: manifest.source.omitted,
    bytes: {
      source: manifest.source.files.reduce((sum, file) => sum + file.size, 0),
      upper: sizeOf("upper"),
      lower: sizeOf("lower"),
    },
    verify: { mode, ok: true, mismatches: 0 },
    seconds: (performance.now() - started) / 1000,
  };
}

/** One conversion into a locked directory. */
class Conversion {
  readonly #source: Source;
  readonly #directory: OutputDirectory;
  readonly #options: ConvertOptions;
  readonly #tool: Tool;
  readonly #settings: RunSettings;
  readonly #record: RunRecord;

  constructor(
    source: Source,
    directory: OutputDirectory,
    options: ConvertOptions,
    tool: Tool,
    settings: RunSettings,
  ) {
    this.#source = source;
    this.#directory = directory;
    this.#options = options;
    this.#tool = tool;
    this.#settings = settings;
    this.#record = new RunRecord(directory);
  }

  async run(rules: ReturnType<typeof headerRules>): Promise<ManifestHead> {
    const { checkpoint, tensors } = this.#source;
    const { shards } = checkpoint;
    if (this.#options.existing === "force") await this.#directory.removeRecords();
    const { origin } = this.#source;
    await this.#record.begin(this.#tool.version, this.#options.plan, shards, origin?.revision);
    const sourceBytes = shards.reduce((sum, shard) => sum + shard.size, 0);
    // Scan and split read the source; verifying reads the pair twice, once to hash and once to rebuild.
    this.#announce(sourceBytes * (this.#options.verify === "full" ? 4 : 2));

    const scans = await scanCheckpoint(checkpoint, rules, this.#settings, this.#record);
    refuseOtherContent(scans, this.#source.origin);
    const plan = planScanned(tensors, scans, rules, this.#options.plan);
    refuseCollisions(tensors, plan);
    warnOfFusedExperts(tensors, plan, this.#settings.listener);
    const planned = plannedBytes(shards, plan);
    await makeRoom(this.#directory, this.#record, shards.length, planned.upper + planned.lower);

    const maker = new PairMaker(this.#directory, this.#record, this.#options.verify, this.#settings);
    const pairs = await concurrently(shards, this.#settings.budget.workers, this.#settings.signal, () => {
      const buffers = new BlockBuffers(this.#settings.budget.blockBytes);
      return async (shard, index, signal) => {
        const place = { index, count: shards.length };
        const scan = scans[index] as ShardScan;
        const earlier = await maker.finished(shard, place, scan, plan);
        return earlier ?? maker.make(shard, place, scan, plan, { buffers, signal });
      };
    });
    const converted = { source: this.#source, plan, scans, pairs, tool: this.#tool };
    return finishDirectory(this.#directory, converted, this.#settings);
  }

  #announce(bytes: number): void {
    this.#settings.listener({ type: "total", bytes });
  }
}
