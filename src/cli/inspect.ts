import type { Command } from "commander";
import type { InspectResult } from "../convert/inspect.ts";
import type { PlanOptions } from "../convert/plan.ts";
import type { HubFlags } from "./hub-options.ts";
import { addHubOptions } from "./hub-options.ts";
import type { CommonOptions, WorkOptions } from "./options.ts";
import { addCommonOptions, addPlanOptions, addWorkOptions, planOptionsOf } from "./options.ts";
import type { ReportFormats } from "./report-file.ts";
import type { Finished } from "./run.ts";

type InspectFlags = CommonOptions &
  WorkOptions &
  HubFlags &
  PlanOptions & {
    readonly output?: string;
  };

export function addInspect(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("inspect")
    .description(
      "show every tensor of a source or converted checkpoint: range, decision, row shifts, FP8 SQNR",
    )
    .argument(
      "<src>",
      "directory, .safetensors file, *.index.json, org/name[@rev], hf://..., or a directory that convert wrote",
    )
    .option("-o, --output <file>", "also write the table to a file (.json, .csv, .md, .txt)");
  addPlanOptions(command);
  addHubOptions(command);
  addWorkOptions(command);
  addCommonOptions(command);
  command.action(async (path: string, flags: InspectFlags) => {
    finish(await inspectCommand(path, flags), flags);
  });
}

async function inspectCommand(path: string, flags: InspectFlags): Promise<Finished> {
  const [
    { inspectColumns, inspectReport },
    tables,
    { commonFormats, refuseReport, writeReport },
    { runWork },
    { inspectSource },
  ] = await Promise.all([
    import("../report/conversion.ts"),
    import("../report/table.ts"),
    import("./report-file.ts"),
    import("./run.ts"),
    import("./inspect-source.ts"),
  ]);
  const rowsOf = ({ document }: Finished): InspectResult["tensors"] =>
    (document.result as InspectResult).tensors;
  const formats: ReportFormats = {
    ...commonFormats,
    ".csv": (finished) => `${tables.csvTable(inspectColumns, rowsOf(finished))}\r\n`,
    ".md": (finished) => `${tables.markdownTable(inspectColumns, rowsOf(finished))}\n`,
  };
  if (flags.output !== undefined) await refuseReport(flags.output, formats);
  const finished = await runWork("inspect", flags, async (settings) => {
    const result = await inspectSource(path, flags, planOptionsOf(flags), settings);
    return { result, report: inspectReport(result) };
  });
  if (flags.output !== undefined) await writeReport(flags.output, finished, formats);
  return finished;
}
