import type { FileHandle } from "node:fs/promises";
import { open, readFile, rename, rm } from "node:fs/promises";
import type { WindowRecord } from "./eval.ts";

/**
 * The windows that are done, one JSON line each, so that an interrupted evaluation goes on. The first line says
 * what was evaluated; a file of another evaluation, and a last line cut short by a kill, are dropped.
 */
export class ResumeFile {
  readonly #path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /**
   * Only one run at a time may have a file open: the caller sees to that.
   *
   * @param identity of the evaluation; windows of another one are of no use
   */
  static async open(
    path: string,
    identity: string,
    resume: boolean,
  ): Promise<{ readonly file: ResumeFile; readonly done: readonly WindowRecord[] }> {
    const done = resume ? await readRecords(path, identity) : [];
    // Under its name only when it holds all that the earlier one did: a kill meanwhile loses no window.
    const temporary = `${path}.tmp`;
    const handle = await open(temporary, "w");
    const file = new ResumeFile(path, handle);
    await handle.appendFile(`${JSON.stringify({ identity })}\n`);
    for (const record of done) await file.add(record);
    await rename(temporary, path);
    return { file, done };
  }

  async add(record: WindowRecord): Promise<void> {
    await this.#handle.appendFile(`${JSON.stringify(record)}\n`);
  }

  /** Closes the file; a finished evaluation needs it no more. */
  async close(finished: boolean): Promise<void> {
    await this.#handle.close();
    if (finished) await rm(this.#path, { force: true });
  }
}

async function readRecords(path: string, identity: string): Promise<WindowRecord[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  const [first, ...lines] = text.split("\n");
  if (first === undefined || parse(first)?.identity !== identity) return [];
  const records: WindowRecord[] = [];
  for (const line of lines) {
    const record = parse(line);
    if (record === undefined) break;
    records.push(record as unknown as WindowRecord);
  }
  return records;
}

function parse(line: string): { readonly identity?: string } | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
