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
   * @returns also how many lines were no windows of this evaluation, as it wrote them
   */
  static async open(
    path: string,
    identity: string,
    resume: boolean,
  ): Promise<{ readonly file: ResumeFile } & Earlier> {
    const earlier = resume ? await readRecords(path, identity) : { done: [], refused: 0 };
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

type Earlier = { readonly done: readonly WindowRecord[]; readonly refused: number };

async function readRecords(path: string, identity: string): Promise<Earlier> {
  // A file that is there and cannot be read may hold finished windows: to go on would replace it.
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  // What follows the last line break is a line that a kill cut short.
  const [first, ...lines] = text.split("\n").slice(0, -1);
  if (first === undefined) return { done: [], refused: 0 };
  if (parse(first)?.identity !== identity) return { done: [], refused: 1 + lines.length };
  const done = new Map<number, WindowRecord>();
  for (const line of lines) {
    const { sha256, record } = parse(line) ?? {};
    if (record && sha256 === digest(identity, record)) done.set(record.window, record);
  }
  return { done: [...done.values()], refused: lines.length - done.size };
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
