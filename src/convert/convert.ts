import { stat } from "node:fs/promises";
import { CheckError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import type { RunSettings } from "./analyse.ts";
import { plannedBytes, planScanned, scanCheckpoint, scannedTensors, warnOfFusedExperts } from "./analyse.ts";
import type { Problem } from "./check-pair.ts";
import { checkPair } from "./check-pair.ts";
import { clearPrevious } from "./clear-previous.ts";
import { concurrently } from "./concurrently.ts";
import { refuseFullDisk } from "./disk-space.ts";
import { step } from "./events.ts";
import { finishDirectory } from "./finish-directory.ts";
import { finishedEarlier } from "./finished-earlier.ts";
import { hashFile } from "./hash-file.ts";
import { pairFileNames, plannedTensor, refuseCollisions } from "./layout.ts";
import type { ManifestHead, Summary } from "./manifest.ts";
import { crcText } from "./manifest.ts";
import type { ExistingPolicy } from "./output-directory.ts";
import { OutputDirectory } from "./output-directory.ts";
import { openPair } from "./pair.ts";
import type { ConversionPlan, PlanOptions } from "./plan.ts";
import { headerRules } from "./plan.ts";
import type { RunContext } from "./run-context.ts";
import { BlockBuffers } from "./run-context.ts";
import type { PairRecord } from "./run-record.ts";
import { planSha256, RunRecord } from "./run-record.ts";
import type { ShardScan } from "./scan.ts";
import type { Source } from "./source.ts";
import { openSource, refuseOverlap } from "./source.ts";
import { warnOfUnreadable } from "./source-root.ts";
import { splitShard } from "./split-shard.ts";

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
  sourcePath: string,
  output: string,
  options: ConvertOptions,
  tool: Tool,
  settings: RunSettings,
): Promise<ConvertResult> {
  const started = performance.now();
  const source = await openSource(sourcePath);
  try {
    await refuseOverlap(source.checkpoint.root, output);
    warnOfUnreadable(source.root, settings.listener);
    const rules = headerRules(source.tensors, options.plan);
    if (options.existing === "resume") {
      const manifest = await finishedEarlier(output, sourcePath, rules, options.plan, tool, settings);
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

function resultOf(
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
    await this.#record.begin(this.#tool.version, this.#options.plan, shards);
    const sourceBytes = shards.reduce((sum, shard) => sum + shard.size, 0);
    // Scan and split read the source; verifying reads the pair twice, once to hash and once to rebuild.
    this.#announce(sourceBytes * (this.#options.verify === "full" ? 4 : 2));

    const scans = await scanCheckpoint(checkpoint, rules, this.#settings, this.#record);
    const plan = planScanned(tensors, scans, rules, this.#options.plan);
    refuseCollisions(tensors, plan);
    warnOfFusedExperts(tensors, plan, this.#settings.listener);
    // Not only under --force: the run that is resumed may have been killed under it, before it came to this.
    if (!this.#record.cleared) {
      await clearPrevious(this.#directory);
      await this.#directory.claim();
      await this.#record.keepCleared();
    }
    const planned = plannedBytes(shards, plan);
    await refuseFullDisk(this.#directory.path, planned.upper + planned.lower - (await this.#bytesPlaced()));

    const digest = planSha256(plan);
    const pairs = await concurrently(shards, this.#settings.budget.workers, this.#settings.signal, () => {
      const buffers = new BlockBuffers(this.#settings.budget.blockBytes);
      return (shard, index, signal) =>
        this.#makePair(shard, index, scans[index] as ShardScan, plan, digest, { buffers, signal });
    });
    const converted = { source: this.#source, plan, scans, pairs, tool: this.#tool };
    return finishDirectory(this.#directory, converted, this.#settings);
  }

  #announce(bytes: number): void {
    this.#settings.listener({ type: "total", bytes });
  }

  /** Bytes of pairs that an earlier run finished. */
  async #bytesPlaced(): Promise<number> {
    let bytes = 0;
    for (const index of this.#source.checkpoint.shards.keys()) {
      const record = await this.#record.pairOf(index);
      if (record) bytes += record.upper.size + record.lower.size;
    }
    return bytes;
  }

  async #makePair(
    shard: Shard,
    index: number,
    scan: ShardScan,
    plan: ConversionPlan,
    digest: string,
    worker: Pick<RunContext, "buffers" | "signal">,
  ): Promise<PairRecord> {
    const { codec, listener } = this.#settings;
    const count = this.#source.checkpoint.shards.length;
    const names = pairFileNames(index, count);
    const earlier = await this.#record.pairOf(index);
    if (
      earlier?.planSha256 === digest &&
      earlier.sourceSha256 === scan.sha256 &&
      (earlier.verified || this.#options.verify === "none") &&
      (await this.#isPlaced(names, earlier))
    ) {
      const steps = this.#options.verify === "full" ? 3 : 1;
      await step(listener, "split", shard.name, shard.size * steps, async (onBytes) =>
        onBytes(shard.size * steps),
      );
      return earlier;
    }
    const temporary = {
      upper: this.#directory.temporaryPath(names.upper),
      lower: this.#directory.temporaryPath(names.lower),
    };
    const pair = await step(listener, "split", shard.name, shard.size, (onBytes) =>
      splitShard(shard, { index, count }, scan, plan, temporary, { codec, ...worker, onBytes }),
    );
    try {
      const [upper, lower] = await Promise.all([pair.upper.seal(), pair.lower.seal()]);
      const record: PairRecord = {
        sourceSha256: scan.sha256,
        planSha256: digest,
        upper,
        lower,
        verified: this.#options.verify === "full",
        checksums: Object.fromEntries(pair.checksums),
      };
      if (this.#options.verify === "full") {
        await step(listener, "verify", shard.name, shard.size * 2, (onBytes) =>
          this.#verifyPair(shard, scan, plan, record, names, temporary, { codec, ...worker, onBytes }),
        );
      }
      await this.#directory.place(names.upper, (final) => pair.upper.commit(final));
      await this.#directory.place(names.lower, (final) => pair.lower.commit(final));
      await this.#record.keepPair(index, record);
      return record;
    } catch (error) {
      await pair.upper.abort();
      await pair.lower.abort();
      throw error;
    }
  }

  async #isPlaced(
    names: { readonly upper: string; readonly lower: string },
    record: PairRecord,
  ): Promise<boolean> {
    const sizes = await Promise.all(
      [names.upper, names.lower].map((name) =>
        stat(this.#directory.finalPath(name)).then(
          ({ size }) => size,
          () => undefined,
        ),
      ),
    );
    return sizes[0] === record.upper.size && sizes[1] === record.lower.size;
  }

  /** Reads a pair back before it gets its final name. @throws CheckError when it is not what it should be */
  async #verifyPair(
    shard: Shard,
    scan: ShardScan,
    plan: ConversionPlan,
    record: PairRecord,
    names: { readonly upper: string; readonly lower: string },
    temporary: { readonly upper: string; readonly lower: string },
    context: RunContext,
  ): Promise<void> {
    const problems: Problem[] = [];
    const [upper, lower] = await Promise.all([
      hashFile(temporary.upper, context, 0),
      hashFile(temporary.lower, context, 1),
    ]);
    for (const [role, read] of [
      ["upper", upper],
      ["lower", lower],
    ] as const) {
      if (read.sha256 === record[role].sha256) continue;
      const message = `reads back with sha256 ${read.sha256}, not ${record[role].sha256}`;
      problems.push({ file: names[role], kind: "sha256", message });
    }
    const scanned = scannedTensors([scan]);
    const pair = await openPair(temporary.upper, temporary.lower, shard.size);
    try {
      const crcOf = (name: string): string | undefined => {
        const { action, patches } = plannedTensor(plan, name);
        const tensor = scanned.get(name);
        const lost = action === "nest" && (tensor?.floats?.inexact ?? 0) > patches;
        const info = shard.header.byName.get(name);
        return lost || (action === "nest" && info?.dtype === "F32") ? undefined : crcText(tensor?.crc32 ?? 0);
      };
      const expected = {
        upperFile: names.upper,
        lowerFile: names.lower,
        sourceFile: shard.name,
        sha256: scan.sha256,
        crcOf,
        deep: false,
      };
      problems.push(...(await checkPair(pair, expected, context)));
    } finally {
      await pair.close();
    }
    const first = problems[0];
    if (first === undefined) return;
    const where = first.tensor === undefined ? "" : ` tensor ${quote(first.tensor)}`;
    throw new CheckError(`${quote(first.file)}${where}: ${first.message} (${problems.length} mismatches)`, {
      hint: "the disk or the memory of this machine is at fault: check both, then run again with --resume",
    });
  }
}
