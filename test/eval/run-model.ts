import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { createCodec } from "../../src/codec/create-codec.ts";
import { convert } from "../../src/convert/convert.ts";
import type { PlanOptions } from "../../src/convert/plan.ts";
import { defaultPlanOptions } from "../../src/convert/plan.ts";
import { createCpuDevice } from "../../src/device/cpu.ts";
import type { ActivationFormat, Device, Precision } from "../../src/device/device.ts";
import type { EvalResult } from "../../src/eval/eval.ts";
import { evaluate } from "../../src/eval/eval.ts";
import { workloadOf } from "../../src/eval/evaluate.ts";
import type { Window } from "../../src/eval/windows.ts";
import { loadModel } from "../../src/model/load.ts";
import { openModel } from "../../src/model/model-files.ts";
import { runSettings, tool } from "../convert/scratch.ts";

export type RunOptions = {
  readonly precisions: readonly Precision[];
  readonly activations?: ActivationFormat;
  /** Bytes; small enough and the layers stream. */
  readonly maxMemory?: number;
  /** As with --max-memory. */
  readonly isAsked?: boolean;
  readonly threads?: number;
  /** Fails when all layers fit into maxMemory. */
  readonly mustStream?: boolean;
  readonly ropeFrequencies?: "fp32" | "fp16";
  /** A device that misbehaves, made of the real one. */
  readonly wrap?: (device: Device) => Device;
};

/** Evaluates a model directory on windows and keeps the NLL of every scored id. */
export async function runModel(
  t: TestContext,
  directory: string,
  windows: readonly Window[],
  {
    precisions,
    activations = "e4m3",
    maxMemory = 2 ** 30,
    isAsked = true,
    threads = 2,
    mustStream = false,
    ropeFrequencies = "fp32",
    wrap = (device) => device,
  }: RunOptions,
): Promise<EvalResult> {
  const codec = createCodec({ threads });
  const device = createCpuDevice({ threads });
  t.after(() => {
    device.close();
    codec.close();
  });
  const files = await openModel(directory);
  t.after(() => files.close());
  const memory = { bytes: maxMemory, isAsked };
  const model = await loadModel(files, wrap(device), codec, precisions, memory, workloadOf(windows));
  if (mustStream) assert.equal(model.layers.resident, false);
  const task = { method: "token-ids", ctx: 0, windows, textSha256: "" } as const;
  const signal = new AbortController().signal;
  return evaluate(model, task, {
    precisions,
    activations,
    ropeFrequencies,
    perToken: true,
    signal,
    onEvent: () => undefined,
  });
}

/** Converts a checkpoint into a directory that is removed when the test ends. */
export async function convertForTest(
  t: TestContext,
  source: string,
  options: Partial<PlanOptions> = {},
): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), "nestedfp-eval-"));
  t.after(() => rm(scratch, { recursive: true, force: true }));
  const output = join(scratch, "converted");
  const plan = { ...defaultPlanOptions, ...options };
  await convert(
    source,
    output,
    { plan, verify: "none", existing: "new" },
    tool,
    runSettings(t, { blockBytes: 2 ** 20 }),
  );
  return output;
}

export function wholeWindows(sequences: readonly (readonly number[])[]): Window[] {
  return sequences.map((ids) => ({ ids: Int32Array.from(ids), scoreFrom: 1, scoreTo: ids.length }));
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8"));
}
