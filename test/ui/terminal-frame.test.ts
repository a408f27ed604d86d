import assert from "node:assert/strict";
import { test } from "node:test";
import { TerminalFrame } from "../../src/ui/terminal-frame.ts";
import { Prng } from "../safetensors/prng.ts";
import { FakeTerminal } from "./fake-terminal.ts";

const earlier = ["$ nestedfp eval", "a line of before that is longer than the terminal will be"];

function terminalWith(columns: number, rows?: number): FakeTerminal {
  const terminal = new FakeTerminal(columns, rows);
  terminal.write(earlier.map((line) => `${line}\n`).join(""));
  return terminal;
}

test("a frame replaces the one before, longer or shorter, and leaves nothing when it is cleared", () => {
  const terminal = terminalWith(80);
  const frame = new TerminalFrame(terminal);
  for (const lines of [["one"], ["one", "two", ""], [], ["coloured", "x"]]) {
    frame.draw(lines.map((line) => `\u001b[36m${line}\u001b[39m`).join("\n"));
    assert.deepEqual(terminal.lines, [...earlier, ...(lines.length === 0 ? [""] : lines)]);
  }
  frame.clear();
  frame.clear();
  assert.deepEqual(terminal.lines, earlier);
});

test("lines that a narrower terminal folded are erased whole, those before stay", () => {
  const random = new Prng(11);
  for (let round = 0; round < 500; round++) {
    const terminal = terminalWith(1 + random.below(120));
    const frame = new TerminalFrame(terminal);
    const what: number[] = [];
    for (let step = 0; step < 6; step++) {
      const lengths = Array.from({ length: 1 + random.below(8) }, () =>
        random.below(terminal.getWindowSize()[0]),
      );
      const lines = lengths.map((length) => "x".repeat(length));
      frame.draw(lines.join("\n"));
      assert.deepEqual(terminal.lines, [...earlier, ...lines], what.join());
      what.push(1 + random.below(120));
      terminal.resize(what.at(-1) ?? 1);
    }
    frame.clear();
    assert.deepEqual(terminal.lines, earlier, what.join());
  }
});

test("of a frame that is higher than the terminal the first lines are drawn, as no cursor reaches beyond", () => {
  const terminal = terminalWith(80, 4);
  const frame = new TerminalFrame(terminal);
  frame.draw("1\n2\n3\n4\n5");
  assert.deepEqual(terminal.lines, [...earlier, "1", "2", "3"]);
});

test("what is no terminal, or has no size, has 80 columns and 24 lines", () => {
  for (const getWindowSize of [undefined, (): [number, number] => [0, 0]]) {
    const terminal = terminalWith(80);
    const unsized = { write: (text: string) => terminal.write(text), on: () => 0, off: () => 0 };
    const frame = new TerminalFrame(getWindowSize ? { ...unsized, getWindowSize } : unsized);
    frame.draw(Array.from({ length: 30 }, (_, line) => String(line)).join("\n"));
    assert.equal(terminal.lines.at(-1), "22");
    frame.clear();
    assert.deepEqual(terminal.lines, earlier);
  }
});
