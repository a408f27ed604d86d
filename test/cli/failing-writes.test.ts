import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { treeOf, writeModel } from "../convert/checkpoints.ts";
import { sharedScratch } from "../convert/scratch.ts";
import type { Run } from "./run.ts";
import { assertOk, assertRefused, nestedfp, start } from "./run.ts";

const scratch = sharedScratch();
const source = join(scratch.path, "source");
const preload = `--import=${join(import.meta.dirname, "fail-calls.mjs")}`;

type Call = "write" | "sync" | "rename" | "open";
type Command = {
  readonly name: string;
  readonly args: readonly string[];
  expected: Readonly<Record<string, string>>;
};

const commands: Command[] = [
  { name: "convert", args: ["convert", source], expected: {} },
  { name: "restore", args: ["restore", join(scratch.path, "convert")], expected: {} },
  { name: "export", args: ["export", join(scratch.path, "convert"), "--to", "fp16"], expected: {} },
];

/** How often each command calls the file system when nothing fails. */
const counts = new Map<string, Readonly<Record<Call, number>>>();

after(scratch.remove);
before(async () => {
  writeModel(source, { width: 64 });
  for (const command of commands) {
    const out = join(scratch.path, command.name);
    const calls = join(scratch.path, `${command.name}.calls`);
    assertOk(
      await nestedfp([...command.args, "-o", out], { env: { NODE_OPTIONS: preload, NESTEDFP_CALLS: calls } }),
    );
    command.expected = treeOf(out);
    counts.set(command.name, JSON.parse(readFileSync(calls, "utf8")));
  }
});

function runFailing(args: readonly string[], call: Call, number: number, code: string): Promise<Run> {
  return nestedfp(args, { env: { NODE_OPTIONS: preload, NESTEDFP_FAIL: `${call}:${number}:${code}` } });
}

/** What stands under a final name is whole, and nothing temporary is left. */
function assertWhole(out: string, expected: Readonly<Record<string, string>>): void {
  if (!existsSync(out)) return;
  for (const [path, hash] of Object.entries(treeOf(out))) {
    assert.ok(!path.endsWith(".tmp"), path);
    if (!path.startsWith(".nestedfp/") && !path.endsWith("/")) assert.equal(hash, expected[path], path);
  }
}

const reasons = {
  EIO: /i\/o error \(EIO\)/,
  ENOSPC: /no space left on device \(ENOSPC\)/,
  EACCES: /permission denied \(EACCES\)/,
  EDQUOT: /quota exceeded|EDQUOT/,
} as const;

describe("a call of the file system that fails gives 3 and leaves only whole files:", () => {
  for (const command of commands) {
    for (const [call, codes] of [
      ["write", ["EIO", "ENOSPC"]],
      ["sync", ["EIO", "EDQUOT"]],
      ["rename", ["EACCES", "EIO"]],
      ["open", ["EACCES", "ENOSPC"]],
    ] as const) {
      test(`${command.name}, ${call}: the first, the last, and some between`, async () => {
        const last = counts.get(command.name)?.[call] ?? 0;
        assert.ok(last >= 3, `${last} calls`);
        const numbers = new Set([1, 2, Math.ceil(last / 3), Math.ceil((2 * last) / 3), last]);
        for (const [i, number] of [...numbers].entries()) {
          const code = codes[i % codes.length] ?? "EIO";
          const out = join(scratch.path, "failing");
          const run = await runFailing([...command.args, "-o", out], call, number, code);
          assertRefused(run, 3, /cannot be written: /);
          assert.match(run.stderr, reasons[code]);
          assertWhole(out, command.expected);
          // A conversion goes on; the others leave nothing behind to go on with.
          if (command.name === "convert") {
            assertOk(await nestedfp([...command.args, "-o", out, "--resume"]));
            assert.deepEqual(treeOf(out), command.expected);
          } else {
            assert.ok(!existsSync(out), `${call} ${number} left ${existsSync(out) && readdirSync(out)}`);
          }
          rmSync(out, { recursive: true, force: true });
        }
      });
    }
  }
});

describe("a target that vanishes while it is written gives 3:", () => {
  const large = join(scratch.path, "large");
  before(() => void writeModel(large, { width: 512, layers: 6 }));

  test("convert", async () => {
    const [out, away] = [join(scratch.path, "vanishing"), join(scratch.path, "away")];
    const run = start(["convert", large, "-o", out, "--progress", "plain"]);
    await run.line(/^25% /);
    renameSync(out, away);
    assertRefused(await run.ended, 3, /cannot be written: no such file or directory \(ENOENT\)/);
    assert.ok(!existsSync(out), "it is not made again");
    // What was renamed is an unfinished run like any other.
    assertOk(await nestedfp(["convert", large, "-o", away, "--resume"]));
    assertOk(await nestedfp(["verify", "--deep", away, "--against", large]));
    const back = start(["restore", away, "-o", out, "--progress", "plain"]);
    await back.line(/^25% /);
    renameSync(out, join(scratch.path, "away-too"));
    assertRefused(await back.ended, 3, /cannot be written: no such file or directory \(ENOENT\)/);
  });
});
