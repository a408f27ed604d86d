import type { RunSettings } from "../convert/analyse.ts";
import { type ConvertOptions, convert } from "../convert/convert.ts";
import { dryRun } from "../convert/dry-run.ts";
import type { SourceLocation } from "../convert/source.ts";
import { convertReport, dryRunReport } from "../report/conversion.ts";
import type { HubFlags } from "./hub-options.ts";
import type { Outcome } from "./run.ts";
import { readTool } from "./tool.ts";

/** Where the output goes: `dry` for nowhere, and then the directory may be left out. */
export type Target =
  | { readonly dry: false; readonly output: string }
  | { readonly dry: true; readonly output: string | undefined };

export type SourceFlags = HubFlags & { readonly stream: boolean };

/** Converts what is on this disk. */
export async function convertLocation(
  location: SourceLocation,
  target: Target,
  options: ConvertOptions,
  settings: RunSettings,
): Promise<Outcome> {
  if (target.dry) {
    const result = await dryRun(location, target.output, options.plan, settings);
    return { result, report: dryRunReport(result) };
  }
  const result = await convert(location, target.output, options, readTool(), settings);
  return { result, report: convertReport(result) };
}
