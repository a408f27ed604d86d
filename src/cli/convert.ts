import type { Command } from "commander";
import type { ExistingPolicy } from "../convert/output-directory.ts";
import type { PlanOptions } from "../convert/plan.ts";
import { UsageError } from "../errors.ts";
import type { Target } from "./convert-location.ts";
import type { HubFlags } from "./hub-options.ts";
import { addHubOptions } from "./hub-options.ts";
import type { CommonOptions, WorkOptions } from "./options.ts";
import { addCommonOptions, addPlanOptions, addWorkOptions, planOptionsOf } from "./options.ts";
import type { Finished } from "./run.ts";

type ConvertFlags = CommonOptions &
  WorkOptions &
  HubFlags &
  PlanOptions & {
    readonly stream: boolean;
    readonly output?: string;
    readonly dryRun: boolean;
    readonly verify: "none" | "full";
    readonly resume: boolean;
    readonly force: boolean;
    readonly report?: string;
  };

export function addConvert(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("convert")
    .description("split a 16-bit checkpoint into the two planes of one NestedFP directory")
    .argument("<src>", "directory, .safetensors file, *.index.json, org/name[@rev] or hf://org/name[@rev]")
    .option("-o, --output <dir>", "directory to write; it must be absent or empty")
    .option("--dry-run", "say what would be done, write nothing", false)
    .option(
      "--verify <mode>",
      "none, or full: read back what was written and rebuild every source word",
      verifyMode,
      "full",
    )
    .option("--resume", "go on with an interrupted conversion of the same source and options", false)
    .option("--force", "replace an earlier conversion in the output directory", false)
    .option("--stream", "fetch, split and drop one shard of a Hub repository at a time", false)
    .option("--report <file>", "also write the result to a file (.json, .md, .txt)");
  addPlanOptions(command);
  addHubOptions(command);
  addWorkOptions(command);
  addCommonOptions(command);
  command.addHelpText("after", examples).action(async (source: string, flags: ConvertFlags) => {
    finish(await convertCommand(source, flags), flags);
  });
}

const examples = `
Examples:
  nestedfp convert Llama-3.1-8B -o Llama-3.1-8B-nested
  nestedfp convert src/model.safetensors -o out --dry-run
  nestedfp convert org/name@main -o out --stream
  nestedfp convert src -o out --exclude 'model.layers.0.*' --report out.json`;

async function convertCommand(source: string, flags: ConvertFlags): Promise<Finished> {
  const [{ convertSource }, { commonFormats, refuseReport, writeReport }, { runWork }] = await Promise.all([
    import("./convert-source.ts"),
    import("./report-file.ts"),
    import("./run.ts"),
  ]);
  const options = { plan: planOptionsOf(flags), verify: flags.verify, existing: existingPolicy(flags) };
  const target = targetOf(flags);
  if (flags.report !== undefined) await refuseReport(flags.report, commonFormats, { made: flags.output });
  const finished = await runWork("convert", flags, (settings) =>
    convertSource(source, target, options, flags, settings),
  );
  if (flags.report !== undefined) await writeReport(flags.report, finished, commonFormats);
  return finished;
}

function targetOf({ dryRun, output }: ConvertFlags): Target {
  if (dryRun) return { dry: true, output };
  if (output !== undefined) return { dry: false, output };
  throw new UsageError("convert needs -o DIR", { hint: "or --dry-run to see what it would do" });
}

function existingPolicy({ resume, force }: ConvertFlags): ExistingPolicy {
  if (resume && force)
    throw new UsageError("--resume and --force exclude each other", { hint: "give one of them" });
  return resume ? "resume" : force ? "force" : "new";
}

function verifyMode(text: string): "none" | "full" {
  if (text === "none" || text === "full") return text;
  throw new UsageError(`--verify is ${JSON.stringify(text)}, not none or full`);
}
