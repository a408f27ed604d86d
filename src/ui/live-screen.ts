import type { ReactElement } from "react";
import type { Terminal } from "./terminal-frame.ts";
import { sizeOf, TerminalFrame } from "./terminal-frame.ts";

/** What to show on a terminal of this size. */
export type Screen = (columns: number, rows: number) => ReactElement;

/** A screen that is drawn over itself while something runs. */
export type LiveScreen = {
  /** Shows it now or a moment later, and again when the size of the terminal changes. */
  show(screen: Screen): void;
  /** Writes a line above the screen. */
  print(line: string): void;
  /** Removes the screen, or leaves it as it is at the end. */
  close(end: "remove" | "leave"): void;
};

// More often than this drawing only costs time.
const redrawMs = 150;

/** Loads ink, which takes a while, and opens a screen on a terminal. */
export async function openLiveScreen(terminal: Terminal = process.stderr): Promise<LiveScreen> {
  const { renderToString } = await import("ink");
  const frame = new TerminalFrame(terminal);
  let current: Screen | undefined;
  let drawn = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const draw = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (current === undefined) return;
    drawn = performance.now();
    const { columns, rows } = sizeOf(terminal);
    frame.draw(renderToString(current(columns, rows), { columns }));
  };
  terminal.on("resize", draw);
  return {
    show: (screen) => {
      if (closed) return;
      current = screen;
      const wait = drawn + redrawMs - performance.now();
      if (wait <= 0) draw();
      else timer ??= setTimeout(draw, wait);
    },
    print: (line) => {
      frame.clear();
      terminal.write(`${line}\n`);
      draw();
    },
    close: (end) => {
      if (closed) return;
      closed = true;
      terminal.off("resize", draw);
      if (end === "leave") draw();
      else frame.clear();
      clearTimeout(timer);
    },
  };
}
