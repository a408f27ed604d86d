import type { FileHandle } from "node:fs/promises";
import { open, readFile, rename, rm } from "node:fs/promises";
import type { Precision } from "../device/device.ts";
import { FormatError, UsageError } from "../errors.ts";
import { linkTarget } from "../native/link-target.ts";
import { lockFile } from "../native/lock-file.ts";
import { isObject } from "./is-object.ts";
import { isBenchRow } from "./is-row.ts";
import type { BenchOptionsRecord, DeviceRecord } from "./result.ts";
import { isDeviceRecord, isOptionsRecord } from "./result.ts";
import type { BenchRow } from "./row.ts";
import type { BenchPlan } from "./runner.ts";
import type { BenchShape } from "./shapes.ts";

/** The first line of a file of rows: where and how all of them were measured. */
export type RowsHeader = {
  readonly schema: typeof rowsSchema;
  readonly device: DeviceRecord;
  readonly options: BenchOptionsRecord;
  /** ISO 8601. */
  readonly started: string;
};

export const rowsSchema = "nestedfp.bench-rows/1";

/** Rows as JSON Lines, written as they come, so that a crash loses one point. */
export class RowsFile {
  readonly #handle: FileHandle;
  readonly #release: () => Promise<void>;

  private constructor(handle: FileHandle, release: () => Promise<void>) {
    this.#handle = handle;
    this.#release = release;
  }

  /**
   * Begins a file, or under `resume` goes on with one, which may be absent.
   *
   * @param plan what will be measured: rows of its points that failed are dropped
   * @throws UsageError for a file that is there without `resume`, for one of another device, other options or other
   * kernels, and for one that another run writes
   * @throws FormatError for a file that is none of rows
   */
  static async open(
    path: string,
    header: RowsHeader,
    resume: boolean,
    plan: BenchPlan,
  ): Promise<{ readonly file: RowsFile; readonly rows: readonly BenchRow[]; readonly started: string }> {
    // A link stays one, and what it leads to is locked.
    const place = await linkTarget(path);
    const release = await claim(place, path);
    try {
      return await RowsFile.#open(path, place, release, header, resume, plan);
    } catch (error) {
      await release();
      throw error;
    }
  }

  static async #open(
    path: string,
    place: string,
    release: () => Promise<void>,
    header: RowsHeader,
    resume: boolean,
    plan: BenchPlan,
  ) {
    const name = JSON.stringify(path);
    const text = await readFile(place, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    if (text !== "" && !resume) {
      throw new UsageError(`${name} exists`, { hint: "go on with it by --resume, or remove it" });
    }
    // A line cut short by a kill is dropped.
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    const isNew = text === "" || (whole === "" && isCutHeader(text));
    const known = isNew ? { header, rows: [] } : parseRowsFile(whole, path);
    refuseOther(name, known.header, header);
    refuseOtherKernels(name, known.rows, plan.kernels);
    const rows = keptRows(known.rows, plan);
    // Under its name only when it holds all that stays: a kill meanwhile loses nothing.
    const temporary = `${place}.${process.pid}.tmp`;
    const handle = await open(temporary, "w");
    try {
      const file = new RowsFile(handle, release);
      await file.#write([known.header, ...rows]);
      await rename(temporary, place);
      return { file, rows, started: known.header.started };
    } catch (error) {
      await handle.close();
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** All rows of a point in one write: a point is there as a whole or not at all. */
  async add(rows: readonly BenchRow[]): Promise<void> {
    await this.#write(rows);
  }

  async close(): Promise<void> {
    await this.#handle.close();
    await this.#release();
  }

  async #write(records: readonly object[]): Promise<void> {
    const bytes = Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    // A disk that is nearly full takes a part, and says so at the next call alone.
    for (let at = 0; at < bytes.length; ) at += (await this.#handle.write(bytes, at)).bytesWritten;
  }
}

/** Two runs that write one file would each put theirs in place of the other's. */
async function claim(place: string, path: string): Promise<() => Promise<void>> {
  const lockPath = `${place}.lock`;
  const lock = await lockFile(lockPath);
  if (lock === undefined) {
    throw new UsageError(`${JSON.stringify(path)} is being written by another run of nestedfp`, {
      hint: "wait until it ends, or write to another file; a run that was killed holds no lock",
    });
  }
  if ((await lock.stat()).size > 0) {
    await lock.close();
    throw new UsageError(`${JSON.stringify(lockPath)} is no lock of nestedfp: there is something in it`, {
      hint: "move it away, or write the rows to another file",
    });
  }
  return async () => {
    await rm(lockPath, { force: true });
    await lock.close();
  };
}

/** @throws FormatError */
export function parseRowsFile(
  text: string,
  name: string,
): { readonly header: RowsHeader; readonly rows: readonly BenchRow[] } {
  const [header, ...rows] = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => parseLine(line));
  if (header === undefined || !isHeader(header)) {
    throw new FormatError(`${JSON.stringify(name)} is no file of rows: its first line is not their header`, {
      hint: "name a .jsonl file that `nestedfp bench -o` wrote",
    });
  }
  return { header, rows: rows.map((row, index) => checkedRow(row, index + 2, name)) };
}

/** @returns undefined for what is no JSON */
function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function checkedRow(row: unknown, line: number, name: string): BenchRow {
  if (isBenchRow(row)) return row;
  throw new FormatError(`${JSON.stringify(name)}, line ${line}: no row of \`nestedfp bench\``, {
    hint: "the file is damaged: remove that line and what follows, or the file",
  });
}

function isHeader(value: unknown): value is RowsHeader {
  if (!isObject(value) || value.schema !== rowsSchema || typeof value.started !== "string") return false;
  return isDeviceRecord(value.device) && isOptionsRecord(value.options);
}

/** Of a run that was killed while it wrote the first line; a text of the user's own is not overwritten. */
function isCutHeader(text: string): boolean {
  const start = `{"schema":"${rowsSchema}"`;
  return text.startsWith(start) || start.startsWith(text);
}

function refuseOther(name: string, was: RowsHeader, is: RowsHeader): void {
  if (was.device.name !== is.device.name) {
    throw new UsageError(
      `${name} was measured on ${JSON.stringify(was.device.name)}, and this is ${JSON.stringify(is.device.name)}`,
      { hint: "write to another file" },
    );
  }
  const entries = [
    ...pairs(was.options, is.options),
    ...pairs(
      { driver: was.device.driver, ...was.device.libraries },
      { driver: is.device.driver, ...is.device.libraries },
    ),
  ];
  const changed = entries.find(([, before, now]) => before !== now);
  if (changed === undefined) return;
  const [key, before, now] = changed;
  throw new UsageError(`${name} was measured with ${key} ${before}, and this run has ${now}`, {
    hint: "give the same options, or write to another file",
  });
}

/** Rows of a point are of one run, its kernels timed in turn with one another. */
function refuseOtherKernels(name: string, rows: readonly BenchRow[], kernels: readonly Precision[]): void {
  const measured = new Set<Precision>(rows.map(({ kernel }) => kernel));
  if (measured.size === 0) return;
  if (measured.size === new Set(kernels).size && kernels.every((kernel) => measured.has(kernel))) return;
  throw new UsageError(`${name} was measured with --kernels ${[...measured]}, and this run has ${kernels}`, {
    hint: "give the same kernels, or write to another file",
  });
}

function pairs(was: object, is: object): [string, unknown, unknown][] {
  const [before, now] = [new Map(Object.entries(was)), new Map(Object.entries(is))];
  return [...new Set([...before.keys(), ...now.keys()])].map((key) => [key, before.get(key), now.get(key)]);
}

/** Rows of points that need not be measured again for a plan, and of all that it does not ask for. */
function keptRows(rows: readonly BenchRow[], plan: BenchPlan): BenchRow[] {
  const whole = rows.filter(({ status }) => status !== "error");
  const isDone = donePoints(whole, plan.kernels);
  return whole.filter((row) => !isAsked(row, plan) || isDone(row, row.m));
}

/** Whether a plan has the point and the kernel of a row. */
export function isAsked({ n, k, m, kernel }: BenchRow, { shapes, ms, kernels }: BenchPlan): boolean {
  return shapes.some((shape) => shape.n === n && shape.k === k) && ms.includes(m) && kernels.includes(kernel);
}

/** Whether rows have every kernel at a point; they are written all together. */
export function donePoints(
  rows: readonly BenchRow[],
  kernels: readonly Precision[],
): (shape: Pick<BenchShape, "n" | "k">, m: number) => boolean {
  const keys = new Set(rows.map(({ n, k, m, kernel }) => `${n}x${k} ${m} ${kernel}`));
  return ({ n, k }, m) => kernels.every((kernel) => keys.has(`${n}x${k} ${m} ${kernel}`));
}
