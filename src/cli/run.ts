import { arch, availableParallelism, cpus, platform } from "node:os";
import { createCodec } from "../codec/create-codec.ts";
import type { RunSettings } from "../convert/analyse.ts";
import { budgetMemory } from "../convert/memory-budget.ts";
import { createProgress } from "../ui/progress.ts";
import { withoutTokens } from "./hub-options.ts";
import { interruptSignal } from "./interrupt.ts";
import type { CommonOptions, WorkOptions } from "./options.ts";
import { readTool } from "./tool.ts";

/** What a command hands back to be printed. */
export type Outcome = {
  readonly result: unknown;
  /** The report for people. */
  readonly report: string;
  /** 1 when a check that the user asked for failed. */
  readonly exitCode?: 0 | 1;
};

/** A finished command: the document of `--json` and of report files, and the report for people. */
export type Finished = {
  readonly document: Document;
  readonly report: string;
  /** 3 when there is a result, and this machine could not keep all that belongs to it. */
  readonly exitCode: 0 | 1 | 3;
};

export type Document = {
  readonly schema: string;
  readonly tool: { readonly name: string; readonly version: string };
  readonly argv: readonly string[];
  readonly environment: object;
  readonly result: unknown;
};

// Shards are worked on in parallel up to this many; more would only divide the memory into smaller blocks.
const mostWorkers = 64;

/** Gives a command that reads weights its codec, memory, interruption and progress, and takes them down after it. */
export async function runWork(
  name: string,
  options: CommonOptions & WorkOptions,
  work: (settings: RunSettings) => Promise<Outcome>,
): Promise<Finished> {
  const budget = budgetMemory(options.maxMemory, options.threads, mostWorkers);
  const codec = createCodec({ threads: options.threads });
  const interrupt = interruptSignal(name === "convert" ? "a conversion goes on with --resume" : undefined);
  const progress = await createProgress(
    options.json && options.progress === "auto" ? "none" : options.progress,
    options.quiet,
  );
  try {
    const { signal } = interrupt;
    const { listener } = progress;
    const outcome = await work({ codec, budget, signal, listener });
    const document = makeDocument(name, outcome.result, { threads: options.threads, codec: codec.name });
    return { document, report: outcome.report, exitCode: outcome.exitCode ?? 0 };
  } finally {
    progress.close();
    interrupt.release();
    codec.close();
  }
}

/** The envelope of a result (ARCHITECTURE.md). @param used what this command adds to the environment */
export function makeDocument(name: string, result: unknown, used: object): Document {
  const environment = {
    node: process.version,
    platform: platform(),
    arch: arch(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    ...used,
  };
  return {
    schema: `nestedfp.${name}/1`,
    tool: readTool(),
    argv: withoutTokens(process.argv.slice(2)),
    environment,
    result,
  };
}
