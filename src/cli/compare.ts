import type { Command } from "commander";
import { Option } from "commander";
import type { Comparison } from "../bench/compare.ts";
import type { CommonOptions } from "./options.ts";
import { addCommonOptions, repeatable, share } from "./options.ts";
import type { Finished } from "./run.ts";

type CompareFlags = CommonOptions & {
  readonly threshold: number;
  readonly allowDifferentDevices: boolean;
  readonly requireAll: boolean;
  readonly output: readonly string[];
};

const largestResult = 1024 ** 3;

export function addCompare(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("compare")
    .description(
      "two results of bench, row by row; exit 1 when the second is slower, or shares no row with the first",
    )
    .argument("<before>", "file that bench wrote as .json or .jsonl")
    .argument("<after>", "another one")
    .addOption(
      new Option("--threshold <share>", "smallest change of a time that counts, e.g. 3% or 0.03")
        .argParser(share)
        .default(0.03, "3%"),
    )
    .option("--allow-different-devices", "compare results of different devices", false)
    .option(
      "--require-all",
      "exit 1 also for rows that the second lacks, and for slower ones with too few samples to judge",
      false,
    )
    .addOption(
      repeatable(
        "-o, --output <file>",
        "also write the result to a file (.json, .csv, .md, .txt; repeatable)",
      ),
    );
  addCommonOptions(command);
  command.action(async (before: string, after: string, flags: CompareFlags) => {
    finish(await compareCommand(before, after, flags), flags);
  });
}

async function compareCommand(before: string, after: string, flags: CompareFlags): Promise<Finished> {
  const [
    { compareResults },
    { readResult },
    { comparisonColumns, comparisonMarkdown, comparisonReport },
    { csvTable },
    { readWholeFile },
    { commonFormats, refuseReport, writeReport },
    { makeDocument },
  ] = await Promise.all([
    import("../bench/compare.ts"),
    import("../bench/read-result.ts"),
    import("../report/comparison.ts"),
    import("../report/table.ts"),
    import("../safetensors/reader.ts"),
    import("./report-file.ts"),
    import("./run.ts"),
  ]);
  const read = async (path: string) =>
    readResult(Buffer.from(await readWholeFile(path, largestResult)).toString(), path);
  const { threshold, allowDifferentDevices, requireAll, output } = flags;
  const formats = {
    ...commonFormats,
    ".md": () => comparisonMarkdown(comparison),
    ".csv": () => `${csvTable(comparisonColumns, comparison.rows)}\r\n`,
  };
  for (const path of output) await refuseReport(path, formats, { inputs: [before, after] });
  const comparison = compareResults(await read(before), await read(after), {
    threshold,
    allowDifferentDevices,
  });
  const finished: Finished = {
    document: makeDocument("compare", comparison, {}),
    report: comparisonReport(comparison),
    exitCode: comparison.regression || isIncomplete(comparison, requireAll) ? 1 : 0,
  };
  for (const path of output) await writeReport(path, finished, formats);
  return finished;
}

/** Whether what was compared is too little for a gate: nothing, or under --require-all not everything. */
function isIncomplete({ rows, missing, unjudged }: Comparison, requireAll: boolean): boolean {
  return rows.length === 0 || (requireAll && missing.after.length + unjudged > 0);
}
