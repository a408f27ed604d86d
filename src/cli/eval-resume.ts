import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { NestedFpError, UsageError } from "../errors.ts";
import type { WindowRecord } from "../eval/eval.ts";
import type { Earlier } from "../eval/resume-file.ts";
import { ResumeFile } from "../eval/resume-file.ts";
import { lockFile } from "../native/lock-file.ts";
import { printable } from "../report/format.ts";
import { makeDirectories } from "../safetensors/make-directories.ts";
import { quote } from "../safetensors/quote.ts";
import { outputError } from "../safetensors/system-error.ts";
import { cacheDirectory } from "./cache-directory.ts";
import type { EvalFlags } from "./eval.ts";

const cachePlace = {
  the: "the cache directory",
  another: "another cache directory with XDG_CACHE_HOME",
};

/** Tells the user; of progress that is being drawn nothing is overwritten. */
export type Warn = (message: string) => void;

/** Where one evaluation writes its finished windows down; no other run does while this one holds it. */
export type ResumePlace = { readonly path: string; release(): Promise<void> };

/**
 * Claims the place of an evaluation. Without a cache directory that can be written it runs all the same, and cannot be
 * resumed.
 *
 * @param identity of the evaluation: model, windows and settings
 * @throws UsageError when the same evaluation is running; MachineError under --resume
 */
export async function claimResume(
  identity: string,
  model: string,
  flags: EvalFlags,
): Promise<ResumePlace | undefined> {
  const warn: Warn = (message) => {
    if (!flags.quiet) process.stderr.write(`Warning: ${message}\n`);
  };
  const path = join(cacheDirectory(), "eval", `${identity}.jsonl`);
  return orWarn(path, flags, warn, async () => {
    await makeDirectories(dirname(path), cachePlace);
    const lockPath = `${path}.lock`;
    const lock = await lockFile(lockPath);
    if (lock === undefined) {
      throw new UsageError(
        `${quote(model)} is being evaluated by another run, on the same text with the same options`,
        { hint: "wait until it ends; a run that was killed is in nobody's way" },
      );
    }
    const release = async (): Promise<void> => {
      await rm(lockPath, { force: true });
      await lock.close();
    };
    return { path, release };
  });
}

/** What is done, and where what will be done is written; `close` also removes it when nothing is left to resume. */
export type Resume = {
  readonly done: readonly WindowRecord[];
  readonly file: { add(record: WindowRecord): Promise<void> };
  close(finished: boolean): Promise<void>;
};

/**
 * Opens the file at a place that was claimed.
 *
 * @param warn also while the evaluation runs
 * @throws MachineError under --resume
 */
export async function openResume(
  { path }: ResumePlace,
  identity: string,
  flags: EvalFlags,
  warn: Warn,
): Promise<Resume | undefined> {
  const opened = await orWarn(path, flags, warn, () => ResumeFile.open(path, identity, flags.resume));
  if (opened === undefined) return undefined;
  const { file, done } = opened;
  for (const defect of defectsOf(opened, path)) warn(printable(defect));
  let writing = true;
  const add = async (record: WindowRecord): Promise<void> => {
    if (!writing) return;
    await file.add(record).catch((error) => {
      // Hours of work need not end with the space on another disk.
      writing = false;
      const { message } = outputError(error, path, cachePlace);
      warn(printable(`from here on this run cannot be resumed: ${message}`));
    });
  };
  return { done, file: { add }, close: (finished) => file.close(finished) };
}

/** One sentence for each way in which the file of the earlier run is not as it was written, and what that changes. */
function defectsOf({ done, isForeign, refused, repeated }: Earlier, path: string): string[] {
  const name = quote(path);
  if (isForeign) return [`${name} does not begin as eval wrote it: every window is evaluated again`];
  const defects: string[] = [];
  if (refused > 0) {
    const lines =
      refused === 1 ? ["a line", "is", "it", "counts"] : [`${refused} lines`, "are", "them", "count"];
    const [what, are, them, count] = lines;
    const kept = done.length === 1 ? "1 intact window of it is" : `${done.length} intact windows of it are`;
    defects.push(
      `${what} of ${name} ${are} not as eval wrote ${them} and ${count} for nothing: ${kept} used`,
    );
  }
  if (repeated > 0) {
    const what = repeated === 1 ? "a line" : `${repeated} lines`;
    defects.push(`${what} of ${name} ${repeated === 1 ? "repeats" : "repeat"} a window: it counts once`);
  }
  return defects;
}

async function orWarn<T>(
  path: string,
  { resume }: EvalFlags,
  warn: Warn,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const failure = error instanceof NestedFpError ? error : outputError(error, path, cachePlace);
    if (resume) throw failure;
    warn(printable(`this run cannot be resumed: ${failure.message}`));
    return undefined;
  }
}
