import type { Command } from "commander";
import type { HubFlags } from "./hub-options.ts";
import { addHubOptions } from "./hub-options.ts";
import type { CommonOptions, WorkOptions } from "./options.ts";
import { addCommonOptions, addWorkOptions } from "./options.ts";
import type { Finished } from "./run.ts";

export type PushFlags = CommonOptions &
  WorkOptions &
  HubFlags & {
    readonly private: boolean;
    readonly createPr: boolean;
    readonly dryRun: boolean;
    readonly evalReport?: string;
    readonly message?: string;
  };

export function addPush(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("push")
    .description("publish a converted directory on the Hub, with a model card made from its manifest")
    .argument("<dir>", "directory that convert wrote; it is verified first")
    .argument("<repo>", "org/name, made when it is not there")
    .option("--private", "make the repository private, if it is made", false)
    .option("--create-pr", "open a pull request in a repository that exists", false)
    .option("--dry-run", "verify, and show the files and the card; sends nothing", false)
    .option("--eval-report <file>", "a .json that eval wrote: adds its perplexities to the card")
    .option("-m, --message <text>", "title of the commit");
  addHubOptions(command);
  addWorkOptions(command);
  addCommonOptions(command);
  command.action(async (path: string, repo: string, flags: PushFlags) => {
    const { pushCommand } = await import("./push-command.ts");
    finish(await pushCommand(path, repo, flags), flags);
  });
}
