import type { Command } from "commander";
import { Option } from "commander";
import type { CommonOptions } from "./options.ts";
import { addCommonOptions, share } from "./options.ts";
import type { Finished } from "./run.ts";

type CompareFlags = CommonOptions & {
  readonly threshold: number;
  readonly allowDifferentDevices: boolean;
  readonly output?: string;
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
    .option("-o, --output <file>", "also write the result to a file (.json, .csv, .md, .txt)");
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
  const { threshold, allowDifferentDevices, output } = flags;
  const formats = {
    ...commonFormats,
    ".md": () => comparisonMarkdown(comparison),
    ".csv": () => `${csvTable(comparisonColumns, comparison.rows)}\r\n`,
  };
  if (output !== undefined) await refuseReport(output, formats);
  const comparison = compareResults(await read(before), await read(after), {
    threshold,
    allowDifferentDevices,
  });
  const finished: Finished = {
    document: makeDocument("compare", comparison, {}),
    report: comparisonReport(comparison),
    // Nothing was compared: no gate should take that for no regression.
    exitCode: comparison.regression || comparison.rows.length === 0 ? 1 : 0,
  };
  if (output !== undefined) await writeReport(output, finished, formats);
  return finished;
}
