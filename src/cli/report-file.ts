import { access, constants, realpath, stat } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import { UsageError } from "../errors.ts";
import { linkTarget } from "../native/link-target.ts";
import { jsonText } from "../report/json-text.ts";
import { quote } from "../safetensors/quote.ts";
import { outputError } from "../safetensors/system-error.ts";
import { AtomicFile } from "../safetensors/writer.ts";
import type { Finished } from "./run.ts";

export type ReportFormats = { readonly [extension: string]: (finished: Finished) => string };

/** The formats that every command can write. */
export const commonFormats: ReportFormats = {
  ".json": ({ document }) => jsonText(document),
  ".txt": ({ report }) => `${report}\n`,
  ".md": ({ report }) => `\`\`\`\n${report}\n\`\`\`\n`,
};

/**
 * Refuses a report that could not be written; call it before the work, not after.
 *
 * @param made a directory that the work makes
 * @param inputs files that the work reads
 * @throws UsageError for an extension without a format, a directory, or one that does not exist, and for an input.
 * @throws MachineError for a directory that is not writable.
 */
export async function refuseReport(
  path: string,
  formats: ReportFormats,
  { made, inputs = [] }: { made?: string | undefined; inputs?: readonly string[] } = {},
): Promise<void> {
  if (!Object.hasOwn(formats, extname(path))) {
    throw new UsageError(
      `${quote(path)} has the extension ${quote(extname(path))}, which is no report format`,
      {
        hint: `use one of ${Object.keys(formats).join(", ")}`,
      },
    );
  }
  const directory = dirname(resolve(path));
  if (made !== undefined && directory === resolve(made)) return;
  if ((await stat(path).catch(() => undefined))?.isDirectory()) {
    throw new UsageError(`${quote(path)} is a directory, not a file`, {
      hint: "give the report another name",
    });
  }
  if (!(await stat(directory).catch(() => undefined))?.isDirectory()) {
    throw new UsageError(`${quote(path)} cannot be written: ${quote(dirname(path))} is no directory`, {
      hint: "make it first, or write the report elsewhere",
    });
  }
  const place = await realpath(path).catch(() => undefined);
  const inputPlaces = await Promise.all(inputs.map((input) => realpath(input).catch(() => undefined)));
  if (place !== undefined && inputPlaces.includes(place)) {
    throw new UsageError(`${quote(path)} is read, and would be overwritten by the report`, {
      hint: "give the report another name",
    });
  }
  await access(directory, constants.W_OK | constants.X_OK).catch((error) => {
    throw outputError(error, path);
  });
}

/** Writes a report in the format of its extension, complete or not at all; behind a link, where that leads. */
export async function writeReport(path: string, finished: Finished, formats: ReportFormats): Promise<void> {
  const text = formats[extname(path)]?.(finished) ?? "";
  const place = await linkTarget(path);
  const file = await AtomicFile.create(`${place}.${process.pid}.tmp`);
  try {
    await file.write(Buffer.from(text), 0);
    await file.commit(place);
  } catch (error) {
    await file.abort();
    throw error;
  }
}
