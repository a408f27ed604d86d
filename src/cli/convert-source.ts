import type { RunSettings } from "../convert/analyse.ts";
import type { ConvertOptions } from "../convert/convert.ts";
import { convert } from "../convert/convert.ts";
import { dryRun } from "../convert/dry-run.ts";
import { dryRunHeaders } from "../convert/dry-run-headers.ts";
import { convertStream } from "../convert/stream.ts";
import { UsageError } from "../errors.ts";
import { convertReport, dryRunReport } from "../report/conversion.ts";
import { quote } from "../safetensors/quote.ts";
import { type HubFlags, readHubOptions } from "./hub-options.ts";
import { locate, openRemote, repositoryOf, withRepository } from "./hub-source.ts";
import type { Outcome } from "./run.ts";
import { readTool } from "./tool.ts";

/** Where the output goes: `dry` for nowhere, and then the directory may be left out. */
export type Target =
  | { readonly dry: false; readonly output: string }
  | { readonly dry: true; readonly output: string | undefined };

/** Converts a path, or a repository from the cache or shard by shard. */
export async function convertSource(
  source: string,
  target: Target,
  options: ConvertOptions,
  flags: HubFlags & { readonly stream: boolean },
  settings: RunSettings,
): Promise<Outcome> {
  const { signal, listener } = settings;
  const reference = await repositoryOf(source, flags);
  if (reference === undefined) refuseHubFlags(source, flags);
  const byHeaders = flags.stream || (target.dry && !readHubOptions(flags).offline);
  if (reference !== undefined && byHeaders) {
    return withRepository(reference, flags, signal, async (client, repository) => {
      const remote = await openRemote(client, repository, signal);
      if (target.dry) {
        const result = await dryRunHeaders(remote, target.output, options.plan, flags.stream, settings);
        return { result, report: dryRunReport(result) };
      }
      const result = await convertStream(remote, target.output, options, readTool(), settings);
      return { result, report: convertReport(result) };
    });
  }
  const location = await locate(source, flags, "convert", signal, listener);
  if (target.dry) {
    const result = await dryRun(location, target.output, options.plan, settings);
    return { result, report: dryRunReport(result) };
  }
  const result = await convert(location, target.output, options, readTool(), settings);
  return { result, report: convertReport(result) };
}

/** @throws UsageError for flags of the Hub beside a path */
function refuseHubFlags(source: string, { stream, revision }: HubFlags & { readonly stream: boolean }): void {
  const flag = stream ? "--stream" : revision === undefined ? undefined : "--revision";
  if (flag === undefined) return;
  throw new UsageError(`${flag} is for repositories of the Hub, and ${quote(source)} is a path`, {
    hint: "leave it out, or give org/name",
  });
}
