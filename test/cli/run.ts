import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const root = join(import.meta.dirname, "../..");
const bin = join(root, "bin/nestedfp.js");

/** How a run of the real binary ended. */
export type Run = {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type RunOptions = {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** A shell command in which `"$@"` stands for the binary and its arguments. */
  readonly shell?: string;
};

/** Runs `nestedfp ARGS` to its end. */
export function nestedfp(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  return start(args, options).ended;
}

export type Started = {
  readonly child: ChildProcess;
  readonly ended: Promise<Run>;
  /** Settles when a line of stderr matches, or when the run ends without one. */
  line(pattern: RegExp): Promise<void>;
};

/** Starts `nestedfp ARGS`. One that hangs is killed and fails its test by its signal. */
export function start(args: readonly string[], { cwd, env, shell }: RunOptions = {}): Started {
  const command = [process.execPath, bin, ...args];
  const [file = "", ...rest] = shell === undefined ? command : ["sh", "-c", shell, "sh", ...command];
  const child = spawn(file, rest, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (bytes: Buffer) => stdout.push(bytes));
  child.stderr.on("data", (bytes: Buffer) => stderr.push(bytes));
  const ended = new Promise<Run>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const text = (parts: Buffer[]): string => Buffer.concat(parts).toString();
      resolve({ code, signal, stdout: text(stdout), stderr: text(stderr) });
    });
  });
  const line = (pattern: RegExp): Promise<void> =>
    new Promise((resolve) => {
      createInterface({ input: child.stderr }).on("line", (text) => pattern.test(text) && resolve());
      child.on("close", () => resolve());
    });
  return { child, ended, line };
}

const stackLine = /^\s+at /m;

/** A run that did what it should: exit 0 and nothing on stderr but progress. */
export function assertOk(run: Run): void {
  assert.equal(run.code, 0, `exit ${run.code} ${run.signal}: ${run.stderr}`);
  assert.doesNotMatch(run.stderr, /Error|Warning/);
}

/** A refusal: its exit code, nothing on stdout, one sentence and perhaps a hint on stderr, and never a stack. */
export function assertRefused(run: Run, code: number, sentence: RegExp): void {
  assert.equal(run.code, code, `exit ${run.code} ${run.signal}: ${run.stderr}`);
  assert.equal(run.stdout, "");
  const lines = run.stderr.split("\n").filter((text) => !/^\d+% \| /.test(text));
  const [error = "", ...hint] = lines.join("\n").trimEnd().split("\n");
  assert.match(error, /^Error: ./, run.stderr);
  assert.match(error, sentence);
  assert.ok(hint.length === 0 || (hint.length === 1 && /^Hint: ./.test(hint[0] ?? "")), run.stderr);
  assert.doesNotMatch(run.stderr, stackLine);
  assert.doesNotMatch(run.stderr, /internal error/);
}

export type Envelope<Result> = {
  readonly schema: string;
  readonly tool: { readonly name: string; readonly version: string };
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, unknown>>;
  readonly result: Result;
};

/** The one JSON document of a `--json` run; anything else on stdout fails. */
export function documentOf<Result>(run: Run): Envelope<Result> {
  assert.doesNotMatch(run.stderr, stackLine);
  assert.ok(run.stdout.endsWith("}\n"), run.stderr);
  return JSON.parse(run.stdout);
}
