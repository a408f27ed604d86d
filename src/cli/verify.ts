import type { Command } from "commander";
import type { VerifyLevel } from "../convert/verify.ts";
import { UsageError } from "../errors.ts";
import type { CommonOptions, WorkOptions } from "./options.ts";
import { addCommonOptions, addWorkOptions } from "./options.ts";
import type { Finished } from "./run.ts";

type VerifyFlags = CommonOptions &
  WorkOptions & {
    readonly quick: boolean;
    readonly deep: boolean;
    readonly fp8Only: boolean;
    readonly against?: string;
    readonly output?: string;
  };

export function addVerify(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("verify")
    .description("check a converted directory: files, sha256, headers, index and configuration")
    .argument("<dir>", "directory that convert wrote")
    .option("--quick", "sizes, headers, index and configuration only", false)
    .option("--deep", "also that the planes are canonical and give every source word", false)
    .option("--fp8-only", "the lower files may be absent", false)
    .option("--against <src>", "also compare with the source checkpoint; implies --deep unless --quick")
    .option("-o, --output <file>", "also write the result to a file (.json, .md, .txt)");
  addWorkOptions(command);
  addCommonOptions(command);
  command.action(async (path: string, flags: VerifyFlags) => {
    finish(await verifyCommand(path, flags), flags);
  });
}

async function verifyCommand(path: string, flags: VerifyFlags): Promise<Finished> {
  const [{ verifyDirectory }, { verifyReport }, { commonFormats, refuseReport, writeReport }, { runWork }] =
    await Promise.all([
      import("../convert/verify.ts"),
      import("../report/conversion.ts"),
      import("./report-file.ts"),
      import("./run.ts"),
    ]);
  const level = levelOf(flags);
  if (flags.output !== undefined) await refuseReport(flags.output, commonFormats);
  const { fp8Only, against } = flags;
  const finished = await runWork("verify", flags, async (settings) => {
    const result = await verifyDirectory(path, { level, fp8Only, against }, settings);
    return { result, report: verifyReport(path, result), exitCode: result.ok ? 0 : 1 };
  });
  if (flags.output !== undefined) await writeReport(flags.output, finished, commonFormats);
  return finished;
}

function levelOf({ quick, deep, fp8Only, against }: VerifyFlags): VerifyLevel {
  if (quick && deep)
    throw new UsageError("--quick and --deep exclude each other", { hint: "give one of them" });
  if (quick) return "quick";
  return deep || (against !== undefined && !fp8Only) ? "deep" : "default";
}
