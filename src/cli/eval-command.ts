import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import { createCodec } from "../codec/create-codec.ts";
import { createCpuDevice } from "../device/cpu.ts";
import type { Precision } from "../device/device.ts";
import { CheckError, FormatError, MachineError, UsageError } from "../errors.ts";
import type { EvalResult, EvalTask } from "../eval/eval.ts";
import { evaluate } from "../eval/eval.ts";
import { workloadOf } from "../eval/evaluate.ts";
import type { Gate } from "../eval/gate.ts";
import { evaluateGate, parseGate } from "../eval/gate.ts";
import { layoutWindows, sequenceWindows } from "../eval/windows.ts";
import { loadModel } from "../model/load.ts";
import type { ModelFiles } from "../model/model-files.ts";
import { openModel } from "../model/model-files.ts";
import { parseTokenIds } from "../model/token-ids.ts";
import { loadTokenizer } from "../model/tokenizer.ts";
import { availablePrecisions } from "../model/weights.ts";
import {
  evaluationColumns,
  evaluationCsvColumns,
  evaluationReport,
  evaluationRows,
} from "../report/evaluation.ts";
import { printable } from "../report/format.ts";
import { csvTable, markdownTable } from "../report/table.ts";
import { quote } from "../safetensors/quote.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { createEvalProgress } from "../ui/eval-progress.ts";
import type { EvalFlags } from "./eval.ts";
import type { Resume, Warn } from "./eval-resume.ts";
import { claimResume, openResume } from "./eval-resume.ts";
import { freeMemory } from "./free-memory.ts";
import { locateModel } from "./hub-model.ts";
import { interruptSignal } from "./interrupt.ts";
import type { ReportFormats } from "./report-file.ts";
import { commonFormats, refuseReport, writeReport } from "./report-file.ts";
import type { Finished } from "./run.ts";
import { makeDocument } from "./run.ts";
import { readTool } from "./tool.ts";

const largestText = 1024 ** 3;

const formats: ReportFormats = {
  ...commonFormats,
  ".csv": ({ document }) =>
    `${csvTable(evaluationCsvColumns, evaluationRows(document.result as EvalResult))}\r\n`,
  ".md": ({ document }) =>
    `${markdownTable(evaluationColumns, evaluationRows(document.result as EvalResult))}\n`,
};

export async function evalCommand(model: string, flags: EvalFlags): Promise<Finished> {
  const gates = flags.failIf.map(parseGate);
  if (flags.output !== undefined) await refuseReport(flags.output, formats);
  refuseOtherDevices(flags.device);
  const { path, repository } = await locateModel(model, flags);
  const files = await openModel(path);
  try {
    const finished = await run({ model, repository }, files, flags, gates);
    if (flags.output !== undefined) await writeReport(flags.output, finished, formats);
    return finished;
  } finally {
    await files.close();
  }
}

/** @throws MachineError for a GPU, UsageError for what is no device */
function refuseOtherDevices(device: string): void {
  if (device === "auto" || device === "cpu") return;
  const hint = "leave --device out, or give --device cpu";
  if (!/^cuda(:\d+)?$/.test(device)) {
    throw new UsageError(`--device is ${quote(device)}, not auto, cpu, cuda or cuda:I`, { hint });
  }
  throw new MachineError(`--device ${device}: this version of nestedfp evaluates on the CPU only`, { hint });
}

async function run(
  { model: named, repository }: { readonly model: string; readonly repository: string | undefined },
  files: ModelFiles,
  flags: EvalFlags,
  gates: readonly Gate[],
): Promise<Finished> {
  const { task, warnings } = await makeTask(files, flags);
  for (const warning of warnings) if (!flags.quiet) process.stderr.write(`Warning: ${warning}\n`);
  const precisions = flags.precision ?? availablePrecisions(files);
  const identity = identityOf(files, task, precisions, flags);
  const place = await claimResume(identity, named, flags);
  try {
    const open = (warn: Warn) => place && openResume(place, identity, flags, warn);
    const { result, device } = await measure(named, files, task, precisions, flags, open);
    const outcomes = gates.map((gate) => evaluateGate(gate, result.precisions));
    const failed = outcomes.filter((gate) => gate.failed);
    // Also under --json and --quiet: exit 1 alone would not say which gate it was.
    for (const { message } of failed) process.stderr.write(`gate failed: ${message}\n`);
    const used = { threads: flags.threads, device, ...(repository !== undefined && { model: repository }) };
    const document = makeDocument("eval", gates.length > 0 ? { ...result, gates: outcomes } : result, used);
    return {
      document,
      report: evaluationReport(result, terminalWidth()),
      exitCode: failed.length > 0 ? 1 : 0,
    };
  } finally {
    await place?.release();
  }
}

/** Runs the model, with progress, and takes down what it needs for that. */
async function measure(
  named: string,
  files: ModelFiles,
  task: EvalTask,
  precisions: readonly Precision[],
  flags: EvalFlags,
  openResume: (warn: Warn) => Promise<Resume | undefined> | undefined,
): Promise<{ readonly result: EvalResult; readonly device: string }> {
  const { activations, perToken, ropeFrequencies, threads } = flags;
  const mode = flags.json && flags.progress === "auto" ? "none" : flags.progress;
  const codec = createCodec({ threads });
  const device = createCpuDevice({ threads });
  const interrupt = interruptSignal("an evaluation goes on with --resume");
  const progress = await createEvalProgress(mode, flags.quiet, printable(basename(resolve(named))));
  try {
    const { maxMemory } = flags;
    const memory = { bytes: maxMemory ?? Math.floor(0.75 * freeMemory()), isAsked: maxMemory !== undefined };
    const model = await loadModel(files, device, codec, precisions, memory, workloadOf(task.windows));
    const { signal } = interrupt;
    const { onEvent } = progress;
    const settings = { precisions, activations, perToken, ropeFrequencies, signal, onEvent };
    const warn = (message: string): void => {
      if (!flags.quiet) progress.warn(message);
    };
    const resume = await openResume(warn);
    let result: EvalResult;
    try {
      result = await evaluate(model, task, settings, resume);
    } catch (error) {
      await resume?.close(error instanceof FormatError || error instanceof CheckError);
      throw error;
    }
    await resume?.close(true);
    progress.close("finished");
    return { result, device: device.name };
  } finally {
    progress.close("failed");
    interrupt.release();
    device.close();
    codec.close();
  }
}

/** Lines in a pipe or a file may be as long as they are. */
function terminalWidth(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}

async function makeTask(
  files: ModelFiles,
  flags: EvalFlags,
): Promise<{ readonly task: EvalTask; readonly warnings: readonly string[] }> {
  const { spec, root } = files;
  if (flags.tokenIds !== undefined) {
    if (flags.ctx !== undefined || flags.stride !== undefined) {
      throw new UsageError("--ctx and --stride do not go with --token-ids, where each sequence is a window", {
        hint: "leave them out; sequences are as long as the file has them",
      });
    }
    const bytes = await readWholeFile(flags.tokenIds, largestText);
    const windows = sequenceWindows(parseTokenIds(bytes, spec, basename(flags.tokenIds)));
    const kept = windows.slice(0, flags.limit);
    const ctx = kept.reduce((longest, { ids }) => Math.max(longest, ids.length), 0);
    return { task: { method: "token-ids", ctx, windows: kept, textSha256: sha256(bytes) }, warnings: [] };
  }
  const { bytes, text } = await readText(flags);
  const tokenizer = await loadTokenizer(root);
  const ids = tokenizer.encode(text);
  refuseForeignIds(ids, spec.vocabSize);
  const { method, ctx, stride, limit } = flags;
  const layout = layoutWindows(ids, method, {
    ctx,
    stride,
    limit,
    modelMax: spec.maxPositions,
    addsBos: tokenizer.addsBos,
    bosId: tokenizer.bosId,
  });
  const { windows, warnings } = layout;
  return { task: { method, ctx: layout.ctx, windows, textSha256: sha256(bytes) }, warnings };
}

/** The text to score, and the bytes that its sha256 is of. */
async function readText(flags: EvalFlags): Promise<{ readonly bytes: Uint8Array; readonly text: string }> {
  if (flags.dataset !== undefined) {
    const { readDataset } = await import("./hub-dataset.ts");
    const text = await readDataset(flags.dataset, flags.method, flags);
    return { bytes: Buffer.from(text), text };
  }
  if (flags.text === undefined) {
    throw new UsageError("eval needs --text FILE", {
      hint: "or --dataset wikitext2, or --token-ids FILE with ids of your own",
    });
  }
  const bytes = Buffer.concat(await Promise.all(flags.text.map((file) => readWholeFile(file, largestText))));
  return { bytes, text: decodeText(bytes, flags.text) };
}

/** @throws FormatError for bytes that are not UTF-8 */
function decodeText(bytes: Uint8Array, names: readonly string[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`${names.map(quote).join(", ")} is not UTF-8 text`, {
      hint: "convert it, e.g. with iconv -t utf-8",
      cause,
    });
  }
}

/** @throws FormatError when tokenizer and model do not belong together */
function refuseForeignIds(ids: Int32Array, vocabSize: number): void {
  const id = ids.find((value) => value >= vocabSize);
  if (id === undefined) return;
  throw new FormatError(`the tokenizer gives id ${id}, and the model's vocabulary has ${vocabSize}`, {
    hint: "tokenizer.json does not belong to this model",
  });
}

/** What must be the same for the windows of an interrupted run to be of use. */
function identityOf(
  files: ModelFiles,
  { method, ctx, windows }: EvalTask,
  precisions: readonly Precision[],
  { activations, perToken, ropeFrequencies }: EvalFlags,
): string {
  const parts = [
    readTool().version,
    resolve(files.root),
    files.fingerprint,
    files.spec,
    method,
    ctx,
    windows.map(({ ids, scoreFrom, scoreTo }) => [
      sha256(new Uint8Array(ids.slice().buffer)),
      scoreFrom,
      scoreTo,
    ]),
    precisions,
    activations,
    perToken,
    ropeFrequencies,
  ];
  return sha256(Buffer.from(JSON.stringify(parts)));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
