import type { RunSettings } from "../convert/analyse.ts";
import type { ConvertOptions } from "../convert/convert.ts";
import { UsageError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { convertLocation, type SourceFlags, type Target } from "./convert-location.ts";
import { repositoryOf } from "./hub-reference.ts";
import type { Outcome } from "./run.ts";

/** Converts a path, or a repository of the Hub. */
export async function convertSource(
  source: string,
  target: Target,
  options: ConvertOptions,
  flags: SourceFlags,
  settings: RunSettings,
): Promise<Outcome> {
  const reference = await repositoryOf(source, flags);
  if (reference === undefined) {
    refuseHubFlags(source, flags);
    return convertLocation(source, target, options, settings);
  }
  const { convertRepository } = await import("./convert-repository.ts");
  return convertRepository(reference, target, options, flags, settings);
}

/** @throws UsageError for flags of the Hub beside a path */
function refuseHubFlags(source: string, { stream, revision }: SourceFlags): void {
  const flag = stream ? "--stream" : revision === undefined ? undefined : "--revision";
  if (flag === undefined) return;
  throw new UsageError(`${flag} is for repositories of the Hub, and ${quote(source)} is a path`, {
    hint: "leave it out, or give org/name",
  });
}
