import { stat } from "node:fs/promises";
import { CheckError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import type { RunSettings } from "./analyse.ts";
import { scannedTensors } from "./analyse.ts";
import type { Problem } from "./check-pair.ts";
import { checkPair } from "./check-pair.ts";
import { step } from "./events.ts";
import { hashFile } from "./hash-file.ts";
import { pairFileNames, plannedTensor } from "./layout.ts";
import { crcText } from "./manifest.ts";
import type { OutputDirectory } from "./output-directory.ts";
import { openPair } from "./pair.ts";
import type { ConversionPlan } from "./plan.ts";
import type { RunContext } from "./run-context.ts";
import type { PairRecord, RunRecord } from "./run-record.ts";
import { planSha256 } from "./run-record.ts";
import type { ShardScan } from "./scan.ts";
import type { ShardView } from "./source.ts";
import { splitShard } from "./split-shard.ts";

/** Which shard a pair is made from: its number from 0, and of how many. */
export type Place = { readonly index: number; readonly count: number };

type PairPaths = { readonly upper: string; readonly lower: string };

/** Makes the pairs of a conversion: split, sealed, verified, and only then under their final names. */
export class PairMaker {
  readonly #directory: OutputDirectory;
  readonly #record: RunRecord;
  readonly #verify: "none" | "full";
  readonly #settings: RunSettings;

  constructor(directory: OutputDirectory, record: RunRecord, verify: "none" | "full", settings: RunSettings) {
    this.#directory = directory;
    this.#record = record;
    this.#verify = verify;
    this.#settings = settings;
  }

  /** A pair of an earlier run that is whole, under whatever decisions. */
  async standing(
    shard: ShardView,
    { index, count }: Place,
    scan: ShardScan,
  ): Promise<PairRecord | undefined> {
    const earlier = await this.#record.pairOf(index);
    const isUsable =
      earlier?.sourceSha256 === scan.sha256 &&
      (earlier.verified || this.#verify === "none") &&
      (await this.#isPlaced(pairFileNames(index, count), earlier));
    if (!isUsable) return undefined;
    const bytes = shard.size * (this.#verify === "full" ? 3 : 1);
    await step(this.#settings.listener, "split", shard.name, bytes, async (onBytes) => onBytes(bytes));
    return earlier;
  }

  /** A pair that an earlier run finished under the same decisions from the same bytes. */
  async finished(
    shard: ShardView,
    place: Place,
    scan: ShardScan,
    plan: ConversionPlan,
  ): Promise<PairRecord | undefined> {
    const earlier = await this.#record.pairOf(place.index);
    return earlier?.planSha256 === planSha256(plan, shard) ? this.standing(shard, place, scan) : undefined;
  }

  async make(
    shard: Shard,
    place: Place,
    scan: ShardScan,
    plan: ConversionPlan,
    worker: Pick<RunContext, "buffers" | "signal">,
  ): Promise<PairRecord> {
    const { codec, listener } = this.#settings;
    const names = pairFileNames(place.index, place.count);
    const temporary = {
      upper: this.#directory.temporaryPath(names.upper),
      lower: this.#directory.temporaryPath(names.lower),
    };
    const pair = await step(listener, "split", shard.name, shard.size, (onBytes) =>
      splitShard(shard, place, scan, plan, temporary, { codec, ...worker, onBytes }),
    );
    try {
      const [upper, lower] = await Promise.all([pair.upper.seal(), pair.lower.seal()]);
      const record: PairRecord = {
        sourceSha256: scan.sha256,
        planSha256: planSha256(plan, shard),
        upper,
        lower,
        verified: this.#verify === "full",
        checksums: Object.fromEntries(pair.checksums),
      };
      if (this.#verify === "full") {
        await step(listener, "verify", shard.name, shard.size * 2, (onBytes) =>
          this.#verifyPair(shard, scan, plan, record, names, temporary, { codec, ...worker, onBytes }),
        );
      }
      if (await this.#record.pairOf(place.index)) await this.#record.forgetPair(place.index);
      await this.#directory.place(names.upper, (final) => pair.upper.commit(final));
      await this.#directory.place(names.lower, (final) => pair.lower.commit(final));
      await this.#record.keepPair(place.index, record);
      return record;
    } catch (error) {
      await pair.upper.abort();
      await pair.lower.abort();
      throw error;
    }
  }

  async #isPlaced(names: PairPaths, record: PairRecord): Promise<boolean> {
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
    names: PairPaths,
    temporary: PairPaths,
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
