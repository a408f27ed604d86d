import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Text } from "ink";
import { openLiveScreen } from "../../src/ui/live-screen.ts";
import { FakeTerminal } from "./fake-terminal.ts";

async function opened() {
  const terminal = new FakeTerminal(40, 10);
  terminal.write("before\n");
  return { terminal, screen: await openLiveScreen(terminal) };
}

test("a screen is drawn at once, what follows soon after, and of that the last only", async () => {
  const { terminal, screen } = await opened();
  screen.show(() => <Text>1</Text>);
  assert.deepEqual(terminal.lines, ["before", "1"]);
  screen.show(() => <Text>2</Text>);
  screen.show(() => <Text>3</Text>);
  assert.deepEqual(terminal.lines, ["before", "1"]);
  await once(terminal, "written");
  assert.deepEqual(terminal.lines, ["before", "3"]);
  screen.close("remove");
});

test("a terminal that is resized gets the screen in its new size", async () => {
  const { terminal, screen } = await opened();
  screen.show((columns, rows) => <Text>{`${"x".repeat(columns - 6)} ${columns} ${rows}`}</Text>);
  for (const [columns, rows] of [
    [20, 10],
    [90, 30],
    [12, 5],
  ] as const) {
    terminal.resize(columns, rows);
    assert.deepEqual(terminal.lines, ["before", `${"x".repeat(columns - 6)} ${columns} ${rows}`]);
  }
  screen.close("remove");
  assert.deepEqual(terminal.lines, ["before"]);
  assert.equal(terminal.listenerCount("resize"), 0);
});

test("a line is written above the screen", async () => {
  const { terminal, screen } = await opened();
  screen.show(() => <Text>screen</Text>);
  screen.print("a warning");
  assert.deepEqual(terminal.lines, ["before", "a warning", "screen"]);
  screen.close("remove");
  assert.deepEqual(terminal.lines, ["before", "a warning"]);
});

test("a screen that is left is the last that was shown; after that nothing is drawn", async () => {
  const { terminal, screen } = await opened();
  screen.show(() => <Text>1</Text>);
  screen.show(() => <Text>2</Text>);
  screen.close("leave");
  screen.close("remove");
  screen.show(() => <Text>3</Text>);
  terminal.resize(20);
  assert.deepEqual(terminal.lines, ["before", "2"]);
});
