import type { Listener } from "../convert/events.ts";
import { pathAndOrigin } from "../convert/source.ts";
import { createProgress } from "../ui/progress.ts";
import type { HubFlags } from "./hub-options.ts";
import { locate, repositoryOf } from "./hub-source.ts";
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

/** The path of a model; the files that it needs are brought into the cache when it is one of the Hub. */
export async function locateModel(model: string, flags: CommonOptions & HubFlags): Promise<string> {
  if ((await repositoryOf(model, flags)) === undefined) return model;
  return whileFetching(flags, async (signal, listener) => {
    return pathAndOrigin(await locate(model, flags, "eval", signal, listener)).path;
  });
}
