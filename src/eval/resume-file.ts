import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { open, readFile, rename, rm } from "node:fs/promises";
import type { WindowRecord } from "./eval.ts";

/**
 * The windows that are done, one JSON line each, so that an interrupted evaluation goes on. The first line says
 * what was evaluated. Each other line has the sha256 of what it says about that evaluation: a line that was edited, or
 * comes from elsewhere, would be a wrong result. A last line cut short by a kill is dropped.
 */
export class ResumeFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #identity: string;

  private constructor(path: string, handle: FileHandle, identity: string) {
    this.#path = path;
    this.#handle = handle;
    this.#identity = identity;
  }

  /**
   * Only one run at a time may have a file open: the caller sees to that.
   *
   * @param identity of the evaluation; windows of another one are of no use
   * @returns the windows of an earlier run, and what of its file was no window of this evaluation, as it wrote them
   */
  static async open(
    path: string,
    identity: string,
    resume: boolean,
  ): Promise<{ readonly file: ResumeFile } & Earlier> {
    const earlier = resume ? await readRecords(path, identity) : nothing;
    // Under its name only when it holds all that the earlier one did: a kill meanwhile loses no window.
    const temporary = `${path}.tmp`;
    const handle = await open(temporary, "w");
    try {
      const file = new ResumeFile(path, handle, identity);
      await handle.appendFile(`${JSON.stringify({ identity })}\n`);
      for (const record of earlier.done) await file.add(record);
      await rename(temporary, path);
      return { file, ...earlier };
    } catch (error) {
      await handle.close();
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async add(record: WindowRecord): Promise<void> {
    const sha256 = digest(this.#identity, record);
    await this.#handle.appendFile(`${JSON.stringify({ sha256, record })}\n`);
  }

  /** Closes the file; a finished evaluation needs it no more. */
  async close(finished: boolean): Promise<void> {
    await this.#handle.close();
    if (finished) await rm(this.#path, { force: true });
  }
}

/** What a file to resume from held. */
export type Earlier = {
  readonly done: readonly WindowRecord[];
  /** Its first line names another evaluation, or nothing: no line of it counts. */
  readonly isForeign: boolean;
  /** Lines that are no windows as this evaluation wrote them; which windows they stood for cannot be known. */
  readonly refused: number;
  /** Lines of windows that another line has too. */
  readonly repeated: number;
};

const nothing: Earlier = { done: [], isForeign: false, refused: 0, repeated: 0 };

async function readRecords(path: string, identity: string): Promise<Earlier> {
  // A file that is there and cannot be read may hold finished windows: to go on would replace it.
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  // What follows the last line break is a line that a kill cut short.
  const [first, ...lines] = text.split("\n").slice(0, -1);
  if (first === undefined) return nothing;
  if (parse(first)?.identity !== identity) return { ...nothing, isForeign: true };
  const done = new Map<number, WindowRecord>();
  let refused = 0;
  let repeated = 0;
  // An empty line stands for no window.
  for (const line of lines.filter((text) => text.trim() !== "")) {
    const { sha256, record } = parse(line) ?? {};
    if (!record || sha256 !== digest(identity, record)) refused++;
    else if (done.has(record.window)) repeated++;
    else done.set(record.window, record);
  }
  return { done: [...done.values()], isForeign: false, refused, repeated };
}

function digest(identity: string, record: WindowRecord): string {
  return createHash("sha256")
    .update(`${identity}\n${JSON.stringify(record)}`)
    .digest("hex");
}

type Line = { readonly identity?: string; readonly sha256?: string; readonly record?: WindowRecord };

function parse(line: string): Line | undefined {
  try {
    const value = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
