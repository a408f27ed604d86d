import type { Command } from "commander";
import { Option } from "commander";
import type { ExportTarget } from "../convert/export.ts";
import type { CommonOptions, WorkOptions } from "./options.ts";
import { addCommonOptions, addWorkOptions } from "./options.ts";
import type { Finished } from "./run.ts";

type ExportFlags = CommonOptions &
  WorkOptions & { readonly to: ExportTarget; readonly output: string; readonly force: boolean };

export function addExport(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("export")
    .description("write one view of a converted directory on its own")
    .argument("<dir>", "directory that convert wrote")
    .addOption(
      new Option("--to <view>", "fp8-only: what stock engines load; fp16: an ordinary FP16 checkpoint")
        .choices(["fp8-only", "fp16"])
        .makeOptionMandatory(),
    )
    .requiredOption("-o, --output <dir>", "directory to write; it must be absent or empty")
    .option("--force", "write into a directory that is not empty, replacing files of the same names", false);
  addWorkOptions(command);
  addCommonOptions(command);
  command.action(async (path: string, flags: ExportFlags) => {
    finish(await exportCommand(path, flags), flags);
  });
}

async function exportCommand(path: string, flags: ExportFlags): Promise<Finished> {
  const [{ exportDirectory }, { exportReport }, { runWork }] = await Promise.all([
    import("../convert/export.ts"),
    import("../report/conversion.ts"),
    import("./run.ts"),
  ]);
  return runWork("export", flags, async (settings) => {
    const result = await exportDirectory(
      path,
      flags.to,
      flags.output,
      flags.force ? "force" : "new",
      settings,
    );
    return { result, report: exportReport(result) };
  });
}
