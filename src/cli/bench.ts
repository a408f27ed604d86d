import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import type { Fp8Sums } from "../bench/cuda-contenders.ts";
import type { Precision } from "../device/device.ts";
import type { CommonOptions } from "./options.ts";
import { addCommonOptions, positive, precisions, repeatable, share, threadsOption } from "./options.ts";
import type { Finished } from "./run.ts";

export type BenchFlags = CommonOptions & {
  readonly preset: readonly string[];
  readonly shapes: readonly string[];
  readonly tp: readonly number[];
  readonly tokens?: string;
  readonly kernels: readonly Precision[];
  readonly device: string;
  readonly threads: number;
  readonly minSamples: number;
  readonly maxNoise: number;
  readonly timeout: number;
  readonly warm: boolean;
  readonly cold: boolean;
  readonly fp8Sums: Fp8Sums;
  readonly tune: boolean;
  readonly continueOnError: boolean;
  readonly resume: boolean;
  readonly text?: string;
  readonly output: readonly string[];
};

export function addBench(
  program: Command,
  finish: (finished: Finished, options: CommonOptions) => void,
): void {
  const command = program
    .command("bench")
    .description("speed of the linear layers of a model in every precision, against fp16")
    .argument("[model]", "converted or source directory, or a config.json: its layers")
    .addOption(repeatable("--preset <name>", "layers of a known model, or `marks`: all of them (repeatable)"))
    .addOption(repeatable("--shapes <n,k>", "a layer of N outputs and K inputs (repeatable)"))
    .option("--tp <list>", "GPUs that share each layer, comma-separated", counts, [1])
    .option(
      "-m, --tokens <list>",
      "numbers of tokens, e.g. 1,2,4,8,16-4096*2 (default: 1,8-8192*2; on the CPU 1,8,64)",
    )
    .option("--kernels <list>", "comma-separated", precisions, precisions("fp16,nested-fp16,nested-fp8,fp8"))
    .option("--device <name>", "auto: a GPU where there is one; cuda, cuda:I or cpu", "auto")
    .addOption(threadsOption("threads of the CPU device"))
    .option("--min-samples <n>", "samples of each kernel at least", positive, 20)
    .addOption(
      new Option("--max-noise <share>", "sample until interquartile range / median is below, e.g. 0.5%")
        .argParser(share)
        .default(0.01, "1%"),
    )
    .option("--timeout <seconds>", "longest sampling of one kernel at one shape and M", seconds, 5)
    .option("--cold", "weights rotate so that caches do not help (default)", false)
    .addOption(new Option("--warm", "the same weights again and again").default(false).conflicts("cold"))
    .addOption(
      new Option("--fp8-sums <how>", "of E4M3 products on a GPU: as the tensor cores add them up, or in FP32")
        .choices(["fast", "fp32"])
        .default("fast"),
    )
    .option("--tune", "time every configuration, and remember the fastest for this device", false)
    .option("--continue-on-error", "a kernel that fails is left out; the others go on", false)
    .option("--resume", "skip what the -o FILE.jsonl of an earlier run has", false)
    .option("--text <file>", "also the perplexity of each precision on a text; needs [model]")
    .addOption(
      repeatable(
        "-o, --output <file>",
        "also write the result as .json, .csv, .md, .svg or .txt, or rows as they come as .jsonl (repeatable)",
      ),
    );
  addCommonOptions(command);
  command.addHelpText("after", examples).action(async (model: string | undefined, flags: BenchFlags) => {
    const { benchCommand } = await import("./bench-command.ts");
    finish(await benchCommand(model, flags), flags);
  });
}

const examples = `
Examples:
  nestedfp bench --preset llama-3.1-8b -m 1,8-4096*2 -o rows.jsonl -o result.json -o plot.svg
  nestedfp bench out --device cpu -m 1,64 --text wiki.test.txt`;

function counts(text: string): number[] {
  return [...new Set(text.split(",").map((part) => positive(part.trim())))];
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) || !(value > 0) || value === Number.POSITIVE_INFINITY)
    throw new InvalidArgumentError("It must be a number above 0, such as 0.5 or 1e-3.");
  return value;
}
