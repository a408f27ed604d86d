import type { RunSettings } from "../convert/analyse.ts";
import { type InspectResult, inspect } from "../convert/inspect.ts";
import type { PlanOptions } from "../convert/plan.ts";
import type { HubFlags } from "./hub-options.ts";
import { repositoryOf } from "./hub-reference.ts";

/** Inspects a path, or a repository of the Hub. */
export async function inspectSource(
  source: string,
  flags: HubFlags,
  plan: PlanOptions,
  settings: RunSettings,
): Promise<InspectResult> {
  const reference = await repositoryOf(source, flags);
  if (reference === undefined) return inspect(source, plan, settings);
  const { inspectRepository } = await import("./inspect-repository.ts");
  return inspectRepository(reference, flags, plan, settings);
}
