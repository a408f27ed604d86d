import { extname } from "node:path";
import { UsageError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { AtomicFile } from "../safetensors/writer.ts";
import type { Finished } from "./run.ts";

export type ReportFormats = { readonly [extension: string]: (finished: Finished) => string };

/** The formats that every command can write. */
export const commonFormats: ReportFormats = {
  ".json": ({ document }) => `${JSON.stringify(document, null, 2)}\n`,
  ".txt": ({ report }) => `${report}\n`,
  ".md": ({ report }) => `\`\`\`\n${report}\n\`\`\`\n`,
};

/** @throws UsageError for an extension without a format; call it before the work, not after. */
export function refuseUnknownFormat(path: string, formats: ReportFormats): void {
  if (Object.hasOwn(formats, extname(path))) return;
  throw new UsageError(
    `${quote(path)} has the extension ${quote(extname(path))}, which is no report format`,
    {
      hint: `use one of ${Object.keys(formats).join(", ")}`,
    },
  );
}

/** Writes a report in the format of its extension, complete or not at all. */
export async function writeReport(path: string, finished: Finished, formats: ReportFormats): Promise<void> {
  const text = formats[extname(path)]?.(finished) ?? "";
  const file = await AtomicFile.create(`${path}.${process.pid}.tmp`);
  try {
    await file.write(Buffer.from(text), 0);
    await file.commit(path);
  } catch (error) {
    await file.abort();
    throw error;
  }
}
