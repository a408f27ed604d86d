import { FormatError } from "../errors.ts";
import type { BenchResult } from "./result.ts";
import { parseRowsFile, rowsSchema } from "./rows-file.ts";
import { summarise } from "./summary.ts";

/** What two results are compared by. */
export type ReadResult = Pick<BenchResult, "device" | "options" | "started" | "rows" | "summary">;

/**
 * A result of `nestedfp bench`: its --json document, the result alone, or a .jsonl file of rows.
 *
 * @throws FormatError
 */
export function readResult(text: string, name: string): ReadResult {
  if (text.startsWith(`{"schema":"${rowsSchema}"`)) {
    // A last line that is being written, or was cut short, is no row yet.
    const { header, rows } = parseRowsFile(text.slice(0, text.lastIndexOf("\n") + 1), name);
    const { device, options, started } = header;
    return checked({ device, options, started, rows, summary: summarise(rows) }, name);
  }
  const document = parse(text);
  return checked(isObject(document) && isObject(document.result) ? document.result : document, name);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function checked(result: unknown, name: string): ReadResult {
  if (isObject(result) && isObject(result.device) && isObject(result.options) && Array.isArray(result.rows)) {
    const broken = result.rows.findIndex((row) => !isRow(row));
    if (broken === -1) return result as ReadResult;
    throw new FormatError(`${JSON.stringify(name)}: row ${broken} lacks a kernel, a size or its quartiles`, {
      hint: "the file was edited or is damaged",
    });
  }
  throw new FormatError(`${JSON.stringify(name)} is no result of \`nestedfp bench\``, {
    hint: "name a file that `nestedfp bench -o FILE.json` or `--json` wrote",
  });
}

function isRow(row: unknown): boolean {
  if (!isObject(row) || typeof row.kernel !== "string") return false;
  if (!["m", "n", "k", "samples"].every((key) => Number.isSafeInteger(row[key]))) return false;
  const times = [row.q1_us, row.median_us, row.q3_us];
  if (row.median_us === null) return true;
  return times.every((time) => typeof time === "number" && time > 0) && Number(row.samples) > 0;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
