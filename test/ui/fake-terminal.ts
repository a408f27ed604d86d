import { EventEmitter } from "node:events";

/**
 * A terminal that folds long lines, also when it is resized, and knows the three movements that a frame needs: to the
 * beginning of the line, up, and to erase all from the cursor on. Anything else fails.
 */
export class FakeTerminal extends EventEmitter {
  #columns: number;
  #rows: number;
  readonly #lines: string[] = [""];
  /** In characters from the beginning of its line, however that is folded. */
  #cursor = { line: 0, at: 0 };

  constructor(columns: number, rows = 24) {
    super();
    this.#columns = columns;
    this.#rows = rows;
  }

  /** The lines that are shown, each as long as it was written. */
  get lines(): readonly string[] {
    return this.#lines.slice(0, -1);
  }

  getWindowSize = (): [number, number] => [this.#columns, this.#rows];

  resize(columns: number, rows = this.#rows): void {
    this.#columns = columns;
    this.#rows = rows;
    this.emit("resize");
  }

  write(text: string): void {
    // Colours are no matter here.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal reads
    for (const [part] of text.matchAll(/\u001b\[\d+A|\u001b\[J|\u001b\[\d+m|\r|\n|[^\u001b\r\n]+|./gu))
      this.#take(part);
    this.emit("written");
  }

  #take(part: string): void {
    const { line, at } = this.#cursor;
    const text = this.#lines[line] ?? "";
    if (part === "\n") {
      this.#cursor = { line: line + 1, at: 0 };
      if (line + 1 === this.#lines.length) this.#lines.push("");
    } else if (part === "\r") {
      this.#cursor = { line, at: at - (at % this.#columns) };
    } else if (part === "\u001b[J") {
      this.#lines.splice(line, Number.POSITIVE_INFINITY, text.slice(0, at));
    } else if (part.endsWith("A") && part.startsWith("\u001b")) {
      this.#up(Number(part.slice(2, -1)));
    } else if (!part.startsWith("\u001b")) {
      this.#lines[line] = text.slice(0, at) + part + text.slice(at + part.length);
      this.#cursor = { line, at: at + part.length };
    } else if (!part.endsWith("m")) {
      throw new Error(`the terminal was sent ${JSON.stringify(part)}`);
    }
  }

  #up(rows: number): void {
    const folded = this.#lines.flatMap((text, line) => {
      const count = Math.max(1, Math.ceil(text.length / this.#columns));
      return Array.from({ length: count }, (_, row) => ({ line, at: row * this.#columns }));
    });
    const { line, at } = this.#cursor;
    const here = folded.findLastIndex((row) => row.line === line && row.at <= at);
    this.#cursor = folded[Math.max(0, here - rows)] ?? { line: 0, at: 0 };
  }
}
