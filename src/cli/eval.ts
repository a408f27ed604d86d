import type { Command } from "commander";
import { Option } from "commander";
import type { ActivationFormat, Precision } from "../device/device.ts";
import { UsageError } from "../errors.ts";
import type { Method } from "../eval/windows.ts";
import type { RopeFrequencies } from "../model/rope.ts";
import type { HubFlags } from "./hub-options.ts";
import { addHubOptions } from "./hub-options.ts";
import type { CommonOptions } from "./options.ts";
import {
  addCommonOptions,
  memoryOption,
  positive,
  precisions,
  repeatable,
  threadsOption,
} from "./options.ts";
import type { Finished } from "./run.ts";

export type EvalFlags = CommonOptions &
  HubFlags & {
    readonly text?: readonly string[];
    readonly dataset?: string;
    readonly tokenIds?: string;
    readonly precision?: readonly Precision[];
    readonly activations: ActivationFormat;
    readonly ropeFrequencies: RopeFrequencies;
    readonly method: Method;
    readonly ctx?: number;
    readonly stride?: number;
    readonly limit?: number;
    readonly device: string;
    readonly threads: number;
    readonly maxMemory?: number;
    readonly perToken: boolean;
    readonly resume: boolean;
    readonly failIf: readonly string[];
    readonly output?: string;
  };

export function addEval(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("eval")
    .description("perplexity of a model in every precision, and how far each is from fp16")
    .usage("[options] <model>")
    .argument(
      "[model]",
      "directory, .safetensors file, *.index.json, org/name[@rev] or hf://...; source or converted",
    )
    .option("--text <file...>", "UTF-8 text; several files are read as one")
    .addOption(
      new Option("--dataset <name>", "wikitext2: the test text, fetched from the Hub once").conflicts([
        "text",
        "tokenIds",
      ]),
    )
    .addOption(
      new Option(
        "--token-ids <file>",
        'JSON {"input_ids": [[...], ...]} in place of text, a window each',
      ).conflicts(["text", "method"]),
    )
    .option(
      "--precision <list>",
      "comma-separated (default: fp16,nested-fp16,nested-fp8,fp8 as the model allows)",
      precisions,
    )
    .addOption(
      new Option(
        "--activations <format>",
        "of the two FP8 precisions: e4m3 per token, or fp16: not quantised",
      )
        .choices(["e4m3", "fp16"])
        .default("e4m3"),
    )
    .addOption(
      new Option("--rope-frequencies <format>", "fp16 reproduces scripts that call model.half()")
        .choices(["fp32", "fp16"])
        .default("fp32"),
    )
    .addOption(
      new Option("--method <name>", "how the text is cut and scored")
        .choices(["plain", "gptq", "llama.cpp", "hf"])
        .default("plain"),
    )
    .option(
      "--ctx <n>",
      "tokens of a window, at most what the model reads (default: the method's, or what the model reads)",
      positive,
    )
    .option("--stride <n>", "tokens between windows, for --method hf (default: 512)", positive)
    .option("--limit <n>", "evaluate the first windows only", positive)
    .option("--device <name>", "auto, cpu, cuda or cuda:I", "auto")
    .addOption(threadsOption("threads of the device"))
    .addOption(memoryOption("; 208M of it for other than the model (default: 3/4 of what is free)"))
    .option("--per-token", "add the negative log-likelihood of every scored token to the result", false)
    .option("--resume", "go on with an interrupted evaluation of the same kind", false)
    .addOption(
      repeatable("--fail-if <gate>", "exit 1 if it holds, e.g. 'nested-fp8.ppl_ratio>1.01' (repeatable)"),
    )
    .option("-o, --output <file>", "also write the result to a file (.json, .csv, .md, .txt)");
  addHubOptions(command);
  addCommonOptions(command);
  command.addHelpText("after", examples).action(async (model: string | undefined, flags: EvalFlags) => {
    if (model === undefined) {
      throw new UsageError("eval needs a model", {
        hint: "name it before --text, which takes every word up to the next option",
      });
    }
    const { evalCommand } = await import("./eval-command.ts");
    finish(await evalCommand(model, flags), flags);
  });
}

const examples = `
Examples:
  nestedfp eval out --text wiki.test.txt --ctx 512
  nestedfp eval out --text wiki.test.txt --precision fp16,nested-fp8 --fail-if 'nested-fp8.ppl_ratio>1.01'`;
