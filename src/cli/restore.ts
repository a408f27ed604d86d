import type { Command } from "commander";
import type { CommonOptions, WorkOptions } from "./options.ts";
import { addCommonOptions, addWorkOptions } from "./options.ts";
import type { Finished } from "./run.ts";

type RestoreFlags = CommonOptions & WorkOptions & { readonly output: string; readonly force: boolean };

export function addRestore(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("restore")
    .description("give the source checkpoint back, every file byte for byte")
    .argument("<dir>", "directory that convert wrote")
    .requiredOption("-o, --output <dir>", "directory to write; it must be absent or empty")
    .option("--force", "write into a directory that is not empty, replacing files of the same names", false);
  addWorkOptions(command);
  addCommonOptions(command);
  command.action(async (path: string, flags: RestoreFlags) => {
    finish(await restoreCommand(path, flags), flags);
  });
}

async function restoreCommand(path: string, flags: RestoreFlags): Promise<Finished> {
  const [{ restore }, { restoreReport }, { runWork }] = await Promise.all([
    import("../convert/restore.ts"),
    import("../report/conversion.ts"),
    import("./run.ts"),
  ]);
  return runWork("restore", flags, async (settings) => {
    const result = await restore(path, flags.output, flags.force ? "force" : "new", settings);
    return { result, report: restoreReport(result) };
  });
}
