import type { Command } from "commander";
import type { ExistingPolicy } from "../convert/output-directory.ts";
import type { PlanOptions } from "../convert/plan.ts";
import { UsageError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { HubFlags } from "./hub-options.ts";
import { addHubOptions, readHubOptions } from "./hub-options.ts";
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
  const [
    { convert },
    { dryRun },
    { dryRunHeaders },
    { convertStream },
    { locate, openRemote, repositoryOf, withRepository },
    { convertReport, dryRunReport },
    { commonFormats, refuseReport, writeReport },
    { runWork },
    { readTool },
  ] = await Promise.all([
    import("../convert/convert.ts"),
    import("../convert/dry-run.ts"),
    import("../convert/dry-run-headers.ts"),
    import("../convert/stream.ts"),
    import("./hub-source.ts"),
    import("../report/conversion.ts"),
    import("./report-file.ts"),
    import("./run.ts"),
    import("./tool.ts"),
  ]);
  const existing = existingPolicy(flags);
  if (flags.report !== undefined) await refuseReport(flags.report, commonFormats, flags.output);
  const plan = planOptionsOf(flags);
  const finished = await runWork("convert", flags, async (settings) => {
    const options = { plan, verify: flags.verify, existing };
    const { signal, listener } = settings;
    const reference = await repositoryOf(source, flags);
    if (reference === undefined) refuseHubFlags(source, flags);
    if (reference !== undefined && (flags.stream || (flags.dryRun && !readHubOptions(flags).offline))) {
      return withRepository(reference, flags, signal, async (client, repository) => {
        const remote = await openRemote(client, repository, signal);
        if (flags.dryRun) {
          const result = await dryRunHeaders(remote, flags.output, plan, flags.stream, settings);
          return { result, report: dryRunReport(result) };
        }
        const result = await convertStream(remote, outputOf(flags), options, readTool(), settings);
        return { result, report: convertReport(result) };
      });
    }
    const output = flags.dryRun ? flags.output : outputOf(flags);
    const location = await locate(source, flags, "convert", signal, listener);
    if (flags.dryRun) {
      const result = await dryRun(location, output, plan, settings);
      return { result, report: dryRunReport(result) };
    }
    const result = await convert(location, outputOf(flags), options, readTool(), settings);
    return { result, report: convertReport(result) };
  });
  if (flags.report !== undefined) await writeReport(flags.report, finished, commonFormats);
  return finished;
}

/** @throws UsageError for flags of the Hub beside a path */
function refuseHubFlags(source: string, { stream, revision }: ConvertFlags): void {
  const flag = stream ? "--stream" : revision === undefined ? undefined : "--revision";
  if (flag === undefined) return;
  throw new UsageError(`${flag} is for repositories of the Hub, and ${quote(source)} is a path`, {
    hint: "leave it out, or give org/name",
  });
}

function outputOf({ output }: ConvertFlags): string {
  if (output !== undefined) return output;
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
