import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { defaultMaxMemory } from "../convert/memory-budget.ts";
import type { PlanOptions } from "../convert/plan.ts";
import { defaultPlanOptions } from "../convert/plan.ts";
import type { Precision } from "../device/device.ts";
import type { ProgressMode } from "../ui/progress.ts";

/** What every command takes. */
export type CommonOptions = {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly progress: ProgressMode;
};

/** How a command that reads weights is carried out. */
export type WorkOptions = { readonly threads: number; readonly maxMemory: number };

export function addCommonOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON document on stdout and nothing else", false)
    .option("-q, --quiet", "print errors only", false)
    .addOption(
      new Option(
        "--progress <mode>",
        "how to show progress on stderr: bars on a terminal, sparse lines elsewhere",
      )
        .choices(["auto", "tty", "plain", "none"])
        .default("auto"),
    )
    .option("--verbose", "print the stack of an error", false);
}

export function addWorkOptions(command: Command): Command {
  return command
    .addOption(threadsOption("threads of the codec"))
    .addOption(memoryOption().default(defaultMaxMemory, "256M"));
}

export function threadsOption(what: string): Option {
  return new Option("--threads <n>", what).argParser(count).default(availableParallelism(), "all cores");
}

/** @param more to be said of it */
export function memoryOption(more = ""): Option {
  return new Option("--max-memory <size>", `memory to stay below, e.g. 256M or 1G${more}`).argParser(size);
}

/** An option that may be given several times; a list. */
export function repeatable(flags: string, description: string): Option {
  return new Option(flags, description).argParser(append).default([], "none");
}

export function addPlanOptions(command: Command): Command {
  return command
    .option(
      "--no-row-shift",
      "keep tensors with |w| >= 1.875 whole, as the paper does, instead of scaling rows",
    )
    .addOption(
      new Option(
        "--bf16 <policy>",
        "BF16 words that binary16 cannot hold: list them, refuse, keep the tensor, drop them",
      )
        .choices(["patch", "refuse", "keep", "lossy"])
        .default(defaultPlanOptions.bf16),
    )
    .addOption(
      new Option(
        "--max-patches <share>",
        "keep a tensor whole when more of its words need a patch, e.g. 5% or 0.05",
      )
        .argParser(share)
        .default(defaultPlanOptions.maxPatches, "5%"),
    )
    .addOption(
      repeatable(
        "--include <pattern>",
        "also split matching linear weights; a glob, or re:REGEX (repeatable)",
      ),
    )
    .addOption(
      repeatable("--exclude <pattern>", "keep matching tensors whole; a glob, or re:REGEX (repeatable)"),
    )
    .option("--allow-lossy", "split F32 weights too; such a directory cannot be restored", false);
}

/** The plan options among the parsed ones. */
export function planOptionsOf(options: PlanOptions): PlanOptions {
  const { rowShift, bf16, maxPatches, include, exclude, allowLossy } = options;
  return { rowShift, bf16, maxPatches, include, exclude, allowLossy };
}

function append(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}

function count(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 1024)
    throw new InvalidArgumentError("It must be from 1 to 1024.");
  return value;
}

const unitBytes: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

function size(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text);
  if (!match) throw new InvalidArgumentError("It must be a number of bytes, or one with K, M, G or T.");
  return Math.floor(Number(match[1]) * (unitBytes[(match[2] ?? "").toUpperCase()] ?? 1));
}

export function share(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const value = match ? Number(match[1]) / (match[2] ? 100 : 1) : Number.NaN;
  if (!(value >= 0 && value <= 1))
    throw new InvalidArgumentError("It must be a share from 0 to 1, or a percentage.");
  return value;
}

const knownPrecisions: readonly Precision[] = ["fp16", "nested-fp16", "nested-fp8", "fp8"];

/** In the order of {@link knownPrecisions}, each once. */
export function precisions(text: string): Precision[] {
  const asked = text.split(",").map((name) => name.trim());
  const unknown = asked.find((name) => !knownPrecisions.some((precision) => precision === name));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`${JSON.stringify(unknown)} is none of ${knownPrecisions.join(", ")}.`);
  }
  return knownPrecisions.filter((precision) => asked.includes(precision));
}

export function positive(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("It must be a whole number from 1.");
  }
  return value;
}
