import type { Listener } from "../convert/events.ts";
import { createProgress } from "../ui/progress.ts";
import type { HubFlags } from "./hub-options.ts";
import { repositoryOf } from "./hub-reference.ts";
import { interruptSignal } from "./interrupt.ts";
import type { CommonOptions } from "./options.ts";

/** Runs work that fetches from the Hub, with progress and interruption of its own. */
export async function whileFetching<T>(
  flags: CommonOptions,
  work: (signal: AbortSignal, listener: Listener) => Promise<T>,
): Promise<T> {
  const interrupt = interruptSignal("what was fetched is kept: run this again to go on");
  const mode = flags.json && flags.progress === "auto" ? "none" : flags.progress;
  const progress = await createProgress(mode, flags.quiet);
  try {
    return await work(interrupt.signal, progress.listener);
  } finally {
    progress.close();
    interrupt.release();
  }
}

/** A model on this disk; `repository` is `org/name@commit` when it is one of the Hub. */
export type LocatedModel = { readonly path: string; readonly repository: string | undefined };

/** Where a model lies; the files that it needs are brought into the cache when it is one of the Hub. */
export async function locateModel(model: string, flags: CommonOptions & HubFlags): Promise<LocatedModel> {
  const reference = await repositoryOf(model, flags);
  if (reference === undefined) return { path: model, repository: undefined };
  const { locate } = await import("./hub-source.ts");
  return whileFetching(flags, async (signal, listener) => {
    const { path, origin } = await locate(reference, flags, "eval", signal, listener);
    return { path, repository: `${origin.repo}@${origin.revision}` };
  });
}
