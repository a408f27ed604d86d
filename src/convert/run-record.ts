import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { UsageError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { Shard } from "../safetensors/reader.ts";
import type { WrittenFile } from "../safetensors/writer.ts";
import { plannedTensor } from "./layout.ts";
import type { PlaneChecksums } from "./manifest.ts";
import type { OutputDirectory } from "./output-directory.ts";
import type { ConversionPlan, PlanOptions } from "./plan.ts";
import type { ScannedTensor, ShardScan } from "./scan.ts";

/** What a finished pair was made from and is; kept so that a resumed run need not make it again. */
export type PairRecord = {
  readonly sourceSha256: string;
  /** Of the decisions for the tensors of its shard: a pair is of use only under the same ones. */
  readonly planSha256: string;
  readonly upper: WrittenFile;
  readonly lower: WrittenFile;
  /** Whether it was read back before it got its names. */
  readonly verified: boolean;
  readonly checksums: Readonly<Record<string, PlaneChecksums>>;
};

type Identity = {
  readonly tool: string;
  readonly options: PlanOptions;
  readonly source: readonly SourceIdentity[];
  /** The commit of a repository, else null. */
  readonly revision: string | null;
};
type SourceIdentity = { readonly file: string; readonly size: number };

/**
 * The memory of an unfinished conversion, in its work folder. Records are small files, each replaced whole; one
 * that cannot be read or is out of date only costs the work again.
 */
export class RunRecord {
  readonly #directory: OutputDirectory;
  #cleared = false;

  constructor(directory: OutputDirectory) {
    this.#directory = directory;
  }

  /** Whether what an earlier conversion left under final names is removed. */
  get cleared(): boolean {
    return this.#cleared;
  }

  /** @throws UsageError when an earlier run here had another source, other options or another version. */
  async begin(
    tool: string,
    options: PlanOptions,
    shards: readonly Pick<Shard, "name" | "size">[],
    revision: string | undefined,
  ): Promise<void> {
    const identity: Identity = {
      tool,
      options,
      source: shards.map((shard) => ({ file: shard.name, size: shard.size })),
      revision: revision ?? null,
    };
    const earlier = (await this.#read("run.json")) as Identity | undefined;
    if (earlier === undefined) {
      // What records there are belong to a run that nothing is known of.
      await this.#directory.removeRecords();
      return this.#directory.writeRecord("run.json", identity);
    }
    refuseOther(this.#directory.path, earlier, identity);
    this.#cleared = (await this.#read("cleared.json")) === true;
  }

  async keepCleared(): Promise<void> {
    await this.#directory.writeRecord("cleared.json", true);
    this.#cleared = true;
  }

  async scanOf(shard: Shard, index: number): Promise<ShardScan | undefined> {
    return this.scanOfVersion(await modifiedTime(shard), index);
  }

  async keepScan(shard: Shard, index: number, scan: ShardScan): Promise<void> {
    await this.keepScanOfVersion(await modifiedTime(shard), index, scan);
  }

  /** @param version what tells the content from any other of this shard, where it has no file of its own */
  async scanOfVersion(version: string, index: number): Promise<ShardScan | undefined> {
    const record = (await this.#read(`scan-${index}.json`)) as StoredScan | undefined;
    if (record === undefined || record.modified !== version) return undefined;
    return { ...record.scan, tensors: record.scan.tensors.map(restoreTensor) };
  }

  async keepScanOfVersion(version: string, index: number, scan: ShardScan): Promise<void> {
    const stored: StoredScan = {
      modified: version,
      scan: { ...scan, tensors: scan.tensors.map(storeTensor) },
    };
    await this.#directory.writeRecord(`scan-${index}.json`, stored);
  }

  async pairOf(index: number): Promise<PairRecord | undefined> {
    return ((await this.#read(`pair-${index}.json`)) as PairRecord | null | undefined) ?? undefined;
  }

  /** Before a pair is replaced: half of it may be the new one when the run is killed. */
  async forgetPair(index: number): Promise<void> {
    await this.#directory.writeRecord(`pair-${index}.json`, null);
  }

  async keepPair(index: number, record: PairRecord): Promise<void> {
    await this.#directory.writeRecord(`pair-${index}.json`, record);
  }

  async #read(name: string): Promise<unknown> {
    try {
      return JSON.parse(await readFile(this.#directory.recordPath(name), "utf8"));
    } catch {
      return undefined;
    }
  }
}

function refuseOther(path: string, earlier: Identity, now: Identity): void {
  refuseDifference(path, "nestedfp", earlier.tool, now.tool);
  for (const key of Object.keys(now.options) as (keyof PlanOptions)[]) {
    refuseDifference(path, `option ${key}`, earlier.options?.[key], now.options[key]);
  }
  refuseDifference(path, "the source files", earlier.source, now.source);
  refuseDifference(path, "the source revision", earlier.revision, now.revision);
}

/** @throws UsageError when what a directory was begun with is not what this run has. */
export function refuseDifference(path: string, what: string, earlier: unknown, now: unknown): void {
  if (JSON.stringify(earlier) === JSON.stringify(now)) return;
  const show = (value: unknown): string => JSON.stringify(value) ?? "nothing";
  throw new UsageError(
    `${quote(path)} was made with ${what} ${show(earlier)}, and this run has ${show(now)}`,
    {
      hint: "give the same source and options, or start again with --force",
    },
  );
}

/** A digest of every decision of a plan on the tensors of one shard. */
export function planSha256(plan: ConversionPlan, { header }: Pick<Shard, "header">): string {
  const text = JSON.stringify(
    header.tensors.map(({ name }) => {
      const { action, patches } = plannedTensor(plan, name);
      return [name, action, patches];
    }),
  );
  return createHash("sha256").update(text).digest("hex");
}

async function modifiedTime(shard: Shard): Promise<string> {
  const { mtimeNs, size } = await stat(shard.path, { bigint: true });
  return `${size} bytes at ${mtimeNs}`;
}

// JSON has no bytes, no NaN and no infinity.
type StoredTensor = Omit<ScannedTensor, "shifts" | "floats"> & {
  readonly shifts: string | undefined;
  readonly floats:
    | (Omit<NonNullable<ScannedTensor["floats"]>, "maxAbs"> & { readonly maxAbs: string })
    | undefined;
};
type StoredScan = {
  readonly modified: string;
  readonly scan: Omit<ShardScan, "tensors"> & { readonly tensors: readonly StoredTensor[] };
};

function storeTensor({ shifts, floats, ...rest }: ScannedTensor): StoredTensor {
  return {
    ...rest,
    shifts: shifts && Buffer.from(shifts).toString("base64"),
    floats: floats && { ...floats, maxAbs: String(floats.maxAbs) },
  };
}

function restoreTensor({ shifts, floats, ...rest }: StoredTensor): ScannedTensor {
  return {
    ...rest,
    shifts: shifts === undefined ? undefined : Buffer.from(shifts, "base64"),
    floats: floats && { ...floats, maxAbs: Number(floats.maxAbs) },
  };
}
