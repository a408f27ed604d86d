import { parquetReadObjects } from "hyparquet";
import { FormatError } from "../errors.ts";
import type { Method } from "./windows.ts";

/** A text that perplexities are published on, as a file of a dataset repository. */
export type DatasetFile = {
  readonly repo: string;
  /** A commit: the same text for ever. */
  readonly revision: string;
  readonly path: string;
};

/** The names that `--dataset` takes. */
export const datasets: Readonly<Record<string, DatasetFile>> = {
  wikitext2: {
    repo: "Salesforce/wikitext",
    revision: "b08601e04326c79dfdd32d625aee71d232d685c3",
    path: "wikitext-2-raw-v1/test-00000-of-00001.parquet",
  },
};

/**
 * The text of a dataset whose rows are lines of one file. What scripts that take their text from `datasets` do, and
 * so the methods `gptq` and `hf`, is to join rows by an empty line; the others take the file as it was published,
 * in which an empty row is a line of one space.
 *
 * @param bytes a Parquet file with a column `text`
 * @throws FormatError when it is none
 */
export async function datasetText(bytes: Uint8Array, method: Method, label: string): Promise<string> {
  const rows = await readRows(bytes, label);
  if (method === "gptq" || method === "hf") return rows.join("\n\n");
  return rows.map((row) => (row === "" ? " \n" : row)).join("");
}

async function readRows(bytes: Uint8Array, label: string): Promise<string[]> {
  const damaged = (cause?: unknown): FormatError =>
    new FormatError(`${label} is no Parquet file with a column of text`, { hint: "fetch it again", cause });
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const rows = await parquetReadObjects({ file, columns: ["text"] }).catch((cause) => {
    throw damaged(cause);
  });
  return rows.map(({ text }) => {
    if (typeof text !== "string") throw damaged();
    return text;
  });
}
