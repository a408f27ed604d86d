import { Console } from "node:console";
import { Command, CommanderError } from "commander";
import { MachineError, NestedFpError } from "../errors.ts";
import { printable } from "../report/format.ts";
import { jsonText } from "../report/json-text.ts";
import { outputError, systemCode } from "../safetensors/system-error.ts";
import { addBench } from "./bench.ts";
import { addCompare } from "./compare.ts";
import { addConvert } from "./convert.ts";
import { addDoctor } from "./doctor.ts";
import { addEval } from "./eval.ts";
import { addExport } from "./export.ts";
import { addInspect } from "./inspect.ts";
import type { CommonOptions } from "./options.ts";
import { addPush } from "./push.ts";
import { addRestore } from "./restore.ts";
import type { Finished } from "./run.ts";
import { readTool } from "./tool.ts";
import { addVerify } from "./verify.ts";

// ink's colours know FORCE_COLOR alone.
if (process.env.NO_COLOR) process.env.FORCE_COLOR ??= "0";

const program = new Command("nestedfp")
  .description("FP8 and FP16 of one LLM in the memory of one: NestedFP checkpoints (arXiv 2506.02024)")
  .version(readTool().version)
  .showHelpAfterError("Hint: nestedfp --help and nestedfp COMMAND --help list what there is")
  .configureOutput({ outputError: (text, write) => write(usageError(text)) })
  .addHelpText(
    "after",
    "\nExit codes: 0 ok; 1 a check failed; 2 usage; 3 this machine cannot; 4 bad input; 5 network; 70 internal; 130/143 interrupted",
  );

for (const add of [
  addConvert,
  addVerify,
  addRestore,
  addInspect,
  addExport,
  addEval,
  addPush,
  addBench,
  addCompare,
  addDoctor,
])
  add(program, finish);
for (const command of [program, ...program.commands]) command.exitOverride();

// Libraries print with console.debug where they should not; standard output is for results alone.
globalThis.console = new Console(process.stderr);

process.stdout.on("error", (error) => {
  // A reader that has seen enough, as `head`, is no failure; a full disk is.
  if (systemCode(error) === "EPIPE") return;
  const { message } = outputError(error, "standard output");
  const hint = "what stdout leads to takes no more: free some space there, or send it elsewhere";
  process.exitCode = report(new MachineError(message, { hint, cause: error }));
});
// Nobody is left to be told.
process.stderr.on("error", () => undefined);

// Of a library's own making, where nobody can catch it.
process.on("uncaughtException", (error) => process.exit(report(error)));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function finish({ document, report, exitCode }: Finished, { json, quiet }: CommonOptions): void {
  if (json) process.stdout.write(jsonText(document));
  else if (!quiet) process.stdout.write(`${report}\n`);
  process.exitCode = exitCode;
}

/** A sentence of commander without the value of an option that it does not know: a token may follow `--tokn=`. */
function usageError(text: string): string {
  const sentence = text.replace(/^error:/, "Error:").replace(/(unknown option '--[^=]*=).*(?='\n)/s, "$1...");
  return printableLines(sentence.trimEnd());
}

/** Prints an error as one sentence and a hint; returns the exit code. */
function report(error: unknown): number {
  // Commander has printed its message already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const verbose = process.argv.includes("--verbose");
  if (error instanceof NestedFpError) {
    process.stderr.write(`Error: ${printable(error.message)}\n`);
    if (error.hint !== undefined) process.stderr.write(`Hint: ${printable(error.hint)}\n`);
    if (verbose) process.stderr.write(printableLines(error.stack ?? ""));
    return error.exitCode;
  }
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`Error: internal error: ${printable(message)}\n`);
  process.stderr.write("Hint: this is a bug of nestedfp: please report it with the output of --verbose\n");
  if (verbose && error instanceof Error) process.stderr.write(printableLines(error.stack ?? ""));
  return 70;
}

/** A stack begins with the message of its error, and a sentence of commander quotes what was typed. */
function printableLines(text: string): string {
  return text
    .split("\n")
    .map((line) => `${printable(line)}\n`)
    .join("");
}
