import { FormatError } from "../errors.ts";
import { isObject } from "./is-object.ts";
import { isTimedRow } from "./is-row.ts";
import type { BenchResult } from "./result.ts";
import { isDeviceRecord, isOptionsRecord } from "./result.ts";
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
  if (
    isObject(result) &&
    isDeviceRecord(result.device) &&
    isOptionsRecord(result.options) &&
    Array.isArray(result.rows)
  ) {
    const broken = result.rows.findIndex((row) => !isTimedRow(row));
    if (broken === -1) return result as ReadResult;
    throw new FormatError(
      `${JSON.stringify(name)}: row ${broken} lacks a name or a size, its quartiles are not in order, or it was timed though it was wrong`,
      {
        hint: "the file was edited or is damaged",
      },
    );
  }
  throw new FormatError(`${JSON.stringify(name)} is no result of \`nestedfp bench\``, {
    hint: "name a file that `nestedfp bench -o FILE.json` or `--json` wrote",
  });
}
