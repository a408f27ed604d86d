import type { RunSettings } from "../convert/analyse.ts";
import type { ConvertOptions } from "../convert/convert.ts";
import { dryRunHeaders } from "../convert/dry-run-headers.ts";
import { refuseNonEmpty } from "../convert/output-directory.ts";
import { convertStream } from "../convert/stream.ts";
import type { RepoReference } from "../hub/repo-id.ts";
import { convertReport, dryRunReport } from "../report/conversion.ts";
import { quote } from "../safetensors/quote.ts";
import { convertLocation, type SourceFlags, type Target } from "./convert-location.ts";
import { readHubOptions } from "./hub-options.ts";
import { locate, openRemote, withRepository } from "./hub-source.ts";
import type { Outcome } from "./run.ts";
import { readTool } from "./tool.ts";

/** Converts a repository from the cache or shard by shard; a dry run reads its headers only. */
export async function convertRepository(
  reference: RepoReference,
  target: Target,
  options: ConvertOptions,
  flags: SourceFlags,
  settings: RunSettings,
): Promise<Outcome> {
  const { signal, listener } = settings;
  const byHeaders = flags.stream || (target.dry && !readHubOptions(flags).offline);
  if (!byHeaders) {
    // Before anything is fetched, which may take hours.
    if (!target.dry) await refuseNonEmpty(target.output, options.existing);
    const location = await locate(reference, flags, "convert", signal, listener);
    if (location.origin.files === undefined) {
      const message = `${quote(reference.id)} may have more files than the cache, of which this run, offline, copies all`;
      listener({ type: "warning", message });
    }
    return convertLocation(location, target, options, settings);
  }
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
