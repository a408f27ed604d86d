import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchDevice, BenchDeviceInfo } from "../bench/bench-device.ts";
import { parseMRange } from "../bench/m-range.ts";
import { openBenchDevice, parseDeviceChoice } from "../bench/open-bench-device.ts";
import type { BenchOptionsRecord, BenchResult } from "../bench/result.ts";
import { deviceRecord } from "../bench/result.ts";
import type { BenchRow } from "../bench/row.ts";
import type { RowsHeader } from "../bench/rows-file.ts";
import { donePoints, isAsked, RowsFile, rowsSchema } from "../bench/rows-file.ts";
import type { BenchPlan } from "../bench/runner.ts";
import { runBench } from "../bench/runner.ts";
import { summarise } from "../bench/summary.ts";
import type { TuneEntry, TuneTable } from "../bench/tune-table.ts";
import {
  loadTuneTable,
  mergeTuneTable,
  saveTuneTable,
  tunedEntries,
  tuneEntries,
} from "../bench/tune-table.ts";
import { NestedFpError, UsageError } from "../errors.ts";
import type { EvalResult } from "../eval/eval.ts";
import { benchCsvColumns, benchMarkdown, benchReport } from "../report/benchmark.ts";
import { benchPlot } from "../report/benchmark-plot.ts";
import { evaluationReport } from "../report/evaluation.ts";
import { printable } from "../report/format.ts";
import { csvTable } from "../report/table.ts";
import { makeDirectories } from "../safetensors/make-directories.ts";
import { inputError, outputError } from "../safetensors/system-error.ts";
import { createBenchProgress } from "../ui/bench-progress.ts";
import type { BenchFlags } from "./bench.ts";
import { benchShapes } from "./bench-shapes.ts";
import { cacheDirectory } from "./cache-directory.ts";
import { interruptSignal } from "./interrupt.ts";
import type { ReportFormats } from "./report-file.ts";
import { commonFormats, refuseReport, writeReport } from "./report-file.ts";
import type { Finished } from "./run.ts";
import { makeDocument } from "./run.ts";

/** The result of the command; the perplexities are there under --text. */
type Result = BenchResult & { readonly perplexity?: EvalResult };

const rowsExtension = ".jsonl";

const formats: ReportFormats = {
  ...commonFormats,
  ".csv": ({ document }) => `${csvTable(benchCsvColumns, (document.result as Result).rows)}\r\n`,
  ".svg": ({ document }) => benchPlot(document.result as Result),
  ".md": ({ document }) => {
    const { perplexity, ...result } = document.result as Result;
    const block = perplexity === undefined ? [] : ["```", evaluationReport(perplexity), "```", ""];
    return [benchMarkdown(result), ...block].join("\n");
  },
};

export async function benchCommand(model: string | undefined, flags: BenchFlags): Promise<Finished> {
  const choice = parseDeviceChoice(flags.device);
  const tokens = flags.tokens === undefined ? undefined : parseMRange(flags.tokens);
  const rowsPath = await refuseOutputs(flags);
  if (flags.text !== undefined && model === undefined) {
    throw new UsageError("--text needs a model to evaluate", {
      hint: "name it: nestedfp bench MODEL --text FILE",
    });
  }
  if (flags.tune && flags.fp8Sums === "fp32") {
    throw new UsageError(
      "--tune remembers what is fastest with the tensor cores' sums, not with --fp8-sums fp32",
      {
        hint: "leave one of them out",
      },
    );
  }
  const shapes = await benchShapes(model, flags);
  if (flags.tune) {
    // Before hours of timing: what is there must be a table, to be merged into.
    await readTable(tunePath());
    await makeDirectories(dirname(tunePath()));
  }
  // Before the device is taken: what is wrong with the model or the text is known before hours of timing.
  const perplexity = await evaluateText(model, flags);
  const { device, notice } = await openBenchDevice(choice, flags.threads, {
    tuned: (info) => tunedOn(info, flags),
    fp8Sums: flags.fp8Sums,
  });
  try {
    if (notice !== undefined && !flags.quiet) process.stderr.write(`Device: ${printable(notice)}\n`);
    const ms = tokens ?? defaultTokens[device.info.kind];
    const result = await measure(device, { shapes, ms, kernels: flags.kernels }, flags, rowsPath);
    const finished = await finish({ ...result, ...(perplexity && { perplexity }) }, flags);
    return flags.tune ? await remember(result, finished) : finished;
  } finally {
    device.close();
  }
}

const defaultTokens: Readonly<Record<"cpu" | "cuda", readonly number[]>> = {
  cpu: [1, 8, 64],
  cuda: parseMRange("1,8-8192*2"),
};

/** @returns where rows go as they come */
async function refuseOutputs({ output, resume }: BenchFlags): Promise<string | undefined> {
  for (const path of output) await refuseReport(path, { ...formats, [rowsExtension]: () => "" });
  const [rowsPath, ...more] = output.filter((path) => extname(path) === rowsExtension);
  if (more.length > 0)
    throw new UsageError("-o names more than one .jsonl file", { hint: "give one of them" });
  if (resume && rowsPath === undefined) {
    throw new UsageError("--resume needs -o FILE.jsonl, the rows of the earlier run", {
      hint: "give the command of the earlier run, and --resume",
    });
  }
  return rowsPath;
}

async function measure(
  device: BenchDevice,
  plan: BenchPlan,
  flags: BenchFlags,
  rowsPath: string | undefined,
): Promise<BenchResult> {
  const options: BenchOptionsRecord = {
    cold: !flags.warm,
    min_samples: flags.minSamples,
    max_noise: flags.maxNoise,
    timeout_s: flags.timeout,
    tune: flags.tune,
    ...(device.info.kind === "cuda" && flags.fp8Sums === "fp32" && { fp8_sums: flags.fp8Sums }),
  };
  const header: RowsHeader = {
    schema: rowsSchema,
    device: deviceRecord(device.info),
    options,
    started: new Date().toISOString(),
  };
  const earlier = rowsPath === undefined ? undefined : await openRows(rowsPath, header, flags.resume, plan);
  const rows = (earlier?.rows ?? []).filter((row) => isAsked(row, plan));
  const interrupt = interruptSignal(
    rowsPath === undefined ? undefined : "the benchmark goes on with --resume",
  );
  const mode = flags.json && flags.progress === "auto" ? "none" : flags.progress;
  const progress = await createBenchProgress(mode, flags.quiet, device.info.name);
  const settings = {
    minSamples: flags.minSamples,
    maxNoise: flags.maxNoise,
    timeoutSeconds: flags.timeout,
    cold: options.cold,
    warmUpSeconds: 0.05,
    clock: () => performance.now(),
    all: flags.tune,
    continueOnError: flags.continueOnError,
    signal: interrupt.signal,
    seed: 1,
    isDone: donePoints(rows, plan.kernels),
  };
  try {
    for await (const event of runBench(device, plan, settings)) {
      if (event.type === "rows") {
        rows.push(...event.rows);
        await earlier?.add(event.rows);
      }
      progress.onEvent(event);
    }
  } finally {
    progress.close();
    interrupt.release();
    await earlier?.close();
  }
  return {
    device: header.device,
    options,
    started: earlier?.started ?? header.started,
    rows: inOrder(rows, plan),
    summary: summarise(rows),
  };
}

async function openRows(path: string, header: RowsHeader, resume: boolean, plan: BenchPlan) {
  const known = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error) => {
      throw error instanceof NestedFpError ? error : outputError(error, path);
    });
  const { file, rows, started } = await known(RowsFile.open(path, header, resume, plan));
  return {
    rows,
    started,
    add: (more: readonly BenchRow[]) => known(file.add(more)),
    close: () => file.close(),
  };
}

/** As one run would have measured them, whatever was resumed. */
function inOrder(rows: readonly BenchRow[], { shapes, ms, kernels }: BenchPlan): BenchRow[] {
  const place = ({ n, k, m, kernel }: BenchRow): readonly number[] => [
    shapes.findIndex((shape) => shape.n === n && shape.k === k),
    ms.indexOf(m),
    kernels.indexOf(kernel),
  ];
  return rows
    .map((row) => ({ row, place: place(row) }))
    .sort((a, b) => a.place.reduce((order, value, i) => order || value - (b.place[i] ?? 0), 0))
    .map(({ row }) => row);
}

/** When a disk takes no report, what was measured is printed all the same. */
async function finish(result: Result, flags: BenchFlags): Promise<Finished> {
  const { perplexity, ...speed } = result;
  const failed = result.rows.filter(({ status }) => status === "incorrect" || status === "error");
  const report = [benchReport(speed), ...(perplexity ? ["", evaluationReport(perplexity)] : [])].join("\n");
  const document = makeDocument("bench", result, { threads: flags.threads, device: result.device.name });
  let finished: Finished = { document, report, exitCode: failed.length > 0 ? 1 : 0 };
  for (const path of flags.output.filter((path) => extname(path) !== rowsExtension)) {
    try {
      await writeReport(path, finished, formats);
    } catch (error) {
      const failure = error instanceof NestedFpError ? error : outputError(error, path);
      process.stderr.write(`Error: ${printable(failure.message)}\n`);
      finished = { ...finished, exitCode: finished.exitCode || 3 };
    }
  }
  for (const { kernel, config, n, k, m, status, error } of failed) {
    const what = status === "incorrect" ? "gives wrong results" : `failed: ${printable(error ?? "")}`;
    process.stderr.write(`${kernel} ${printable(config ?? "")} at N ${n}, K ${k}, M ${m} ${what}\n`);
  }
  return finished;
}

/** `nestedfp eval` on the same model, in the precisions asked for that it has. */
async function evaluateText(model: string | undefined, flags: BenchFlags): Promise<EvalResult | undefined> {
  if (model === undefined || flags.text === undefined) return undefined;
  const { evalCommand } = await import("./eval-command.ts");
  const { json, quiet, verbose, progress, threads, resume, text } = flags;
  const { document } = await evalCommand(model, {
    json,
    quiet,
    verbose,
    progress,
    threads,
    resume,
    text: [text],
    activations: "e4m3",
    ropeFrequencies: "fp32",
    method: "plain",
    device: "auto",
    perToken: false,
    failIf: [],
  });
  return document.result as EvalResult;
}

function tunePath(): string {
  return join(cacheDirectory(), "tune.json");
}

/** What this user measured, over what is shipped. */
async function tunedOn(
  info: BenchDeviceInfo,
  { quiet, tune, kernels }: BenchFlags,
): Promise<readonly TuneEntry[]> {
  const shipped = fileURLToPath(new URL("../../kernels/tune/shipped.json", import.meta.url));
  const own = tunePath();
  const { entries, isOfOtherKernels, standIn } = tunedEntries(
    await readTable(shipped),
    await readTable(own),
    deviceRecord(info),
  );
  const usesEntries = !tune && kernels.some((kernel) => kernel.startsWith("nested-"));
  if (quiet || !usesEntries) return entries;
  const device = printable(info.name);
  const taken = standIn === undefined ? "it is not used" : `those of ${printable(standIn)} are taken`;
  if (isOfOtherKernels) {
    process.stderr.write(
      `Notice: what ${printable(own)} has of ${device} is of other kernels; ${taken}; --tune replaces all of it\n`,
    );
  } else if (standIn !== undefined) {
    process.stderr.write(`Notice: no kernels were tuned on ${device}, ${taken}; --tune measures ${device}\n`);
  }
  return entries;
}

async function readTable(path: string): Promise<TuneTable> {
  try {
    return await loadTuneTable(path);
  } catch (error) {
    throw error instanceof NestedFpError ? error : inputError(error, path);
  }
}

/**
 * Merges into what is on disk now: another run may have written meanwhile. When the disk takes no more, what was
 * measured is printed all the same.
 */
async function remember({ device, rows }: BenchResult, finished: Finished): Promise<Finished> {
  try {
    await saveTuneTable(
      tunePath(),
      mergeTuneTable(await loadTuneTable(tunePath()), device, tuneEntries(rows)),
    );
    return finished;
  } catch (error) {
    const failure = error instanceof NestedFpError ? error : outputError(error, tunePath());
    process.stderr.write(`--tune is not remembered: ${printable(failure.message)}\n`);
    return { ...finished, exitCode: finished.exitCode || 3 };
  }
}
