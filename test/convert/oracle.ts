import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const oracle = join(import.meta.dirname, "../oracle/check_directory.py");

/** Checks a converted directory with the independent checker of FORMAT.md. @param flags those of the conversion */
export async function runOracle(output: string, source: string, flags: readonly string[]): Promise<void> {
  const run = promisify(execFile)("python3", [oracle, output, "--source", source, ...flags]);
  const { stdout } = await run.catch((error) => assert.fail(`${error.stdout}${error.stderr}`));
  assert.match(stdout, /^ok: /);
}
