import { stripVTControlCharacters } from "node:util";

/** What is drawn on; `process.stderr` is one. */
export type Terminal = {
  /** Absent on what is no terminal. */
  readonly getWindowSize?: () => [columns: number, rows: number];
  write(text: string): unknown;
  on(event: "resize", listener: () => void): unknown;
  off(event: "resize", listener: () => void): unknown;
};

/** Asked for each drawing: what the stream remembers is a moment older than what is on the terminal. */
export function sizeOf(terminal: Terminal): { readonly columns: number; readonly rows: number } {
  const [columns, rows] = terminal.getWindowSize?.() ?? [];
  // Some pseudo-terminals have no size.
  return { columns: columns || 80, rows: rows || 24 };
}

/**
 * Lines at the end of what a terminal shows, drawn over themselves. ink's own drawing counts the lines that it wrote,
 * but a terminal that became narrower has folded them into more: their beginning would stay as many times as it is
 * resized.
 */
export class TerminalFrame {
  readonly #terminal: Terminal;
  #lines: readonly string[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Puts `text` in place of what was drawn before; of more lines than the terminal has, the first ones. */
  draw(text: string): void {
    const { rows } = sizeOf(this.#terminal);
    const lines = text.split("\n").slice(0, Math.max(1, rows - 1));
    // In one piece, so that no terminal shows the moment between.
    this.#terminal.write(`${this.#erasure()}${lines.map((line) => `${line}\n`).join("")}`);
    this.#lines = lines;
  }

  clear(): void {
    this.#terminal.write(this.#erasure());
    this.#lines = [];
  }

  /** Moves the cursor, which is below the frame, to its beginning, and erases all from there. */
  #erasure(): string {
    const { columns } = sizeOf(this.#terminal);
    const folded = (line: string): number =>
      Math.max(1, Math.ceil([...stripVTControlCharacters(line)].length / columns));
    const height = this.#lines.reduce((sum, line) => sum + folded(line), 0);
    return height === 0 ? "" : `\r\u001b[${height}A\u001b[J`;
  }
}
