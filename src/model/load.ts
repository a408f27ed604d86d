import type { Codec } from "../codec/codec.ts";
import type { Constants, Device, Precision, Weights } from "../device/device.ts";
import { MachineError, UsageError } from "../errors.ts";
import type { ModelSpec } from "./config.ts";
import { scratchBytesPerToken } from "./decoder.ts";
import { halfWordsScratch } from "./half-words.ts";
import { LayerSource } from "./layer-source.ts";
import type { ModelFiles } from "./model-files.ts";
import { availablePrecisions, WeightLoader } from "./weights.ts";

/** A model ready to run on a device: everything that all windows share. */
export type LoadedModel = {
  readonly device: Device;
  readonly spec: ModelSpec;
  readonly layers: LayerSource;
  readonly embedding: Weights;
  readonly finalNorm: Constants;
  readonly head: Weights;
  /** Bytes for the hidden states of windows that pass the layers together. */
  readonly hiddenBytes: number;
};

/** The windows that a model will run on, in tokens. */
export type Workload = {
  /** Of the windows that pass a layer as one batch, at most. */
  readonly batch: number;
  /** Of all windows. */
  readonly total: number;
};

// Windows that go through the layers together should be at least this many tokens, or reading layers again for
// each group would dominate.
const fewestTokens = 4096;

/**
 * Taken off the memory before any layer is: Node itself, a tokenizer and the headers of a model of usual size (`npm run
 * bench:eval -- --memory`), two blocks of logits (src/eval/window-scorer.ts), the scratch of the CPU device, and that of
 * reading words.
 */
export const reservedBytes = (96 + 2 * 32 + 16) * 1024 ** 2 + halfWordsScratch;

/** Memory to stay below. */
type MemoryBudget = {
  readonly bytes: number;
  /** With --max-memory; else it is what this machine has to give. */
  readonly isAsked: boolean;
};

/**
 * Loads what stays in memory, and prepares the layers to stay or to stream under a budget.
 *
 * @throws UsageError for a precision that the model does not have, or when not even one layer fits into the memory that
 *   was asked for; MachineError when none was, and it does not fit
 */
export async function loadModel(
  files: ModelFiles,
  device: Device,
  codec: Codec,
  precisions: readonly Precision[],
  memory: MemoryBudget,
  workload: Workload,
): Promise<LoadedModel> {
  refuseUnavailable(files, precisions);
  const { spec } = files;
  const loader = new WeightLoader(files, device, codec, precisions);
  const perToken = 4 * spec.hiddenSize * precisions.length;
  const hiddenBytes = perToken * Math.min(workload.total, Math.max(fewestTokens, workload.batch));
  const each = Array.from({ length: spec.layers }, (_, layer) => layer);
  const layerBytes = Math.max(...each.map((layer) => loader.storedBytes(layer)));
  const otherBytes =
    reservedBytes +
    2 * spec.vocabSize * spec.hiddenSize * (spec.tieWordEmbeddings ? 1 : 2) +
    scratchBytesPerToken(spec) * workload.batch +
    hiddenBytes +
    // Some of the layer before wait for the garbage collector.
    2 * Math.max(...each.map((layer) => loader.copiedBytes(layer)));
  const forLayers = memory.bytes - otherBytes;
  // Streaming holds the layer in use and the next one.
  if (forLayers < 2 * layerBytes) throw tooLittle(memory, otherBytes + 2 * layerBytes);
  const layers = new LayerSource(loader, spec.layers, forLayers);
  const embedding = await loader.embedding();
  return {
    device,
    spec,
    layers,
    embedding,
    finalNorm: await loader.finalNorm(),
    head: await loader.head(spec, embedding),
    hiddenBytes: layers.resident ? hiddenBytes : hiddenBytes + forLayers - 2 * layerBytes,
  };
}

function tooLittle({ bytes, isAsked }: MemoryBudget, neededBytes: number): UsageError | MachineError {
  const needed = Math.ceil(neededBytes / 1024 ** 2);
  const what = "one layer at a time, the next, the embeddings and some windows must fit";
  if (isAsked) {
    const given = bytes < 1024 ** 2 ? `${bytes} bytes` : `${Math.floor(bytes / 1024 ** 2)} MiB`;
    const message = `--max-memory is ${given}, which is too little: this model needs ${needed} MiB`;
    return new UsageError(message, { hint: `give --max-memory ${needed}M or more: ${what}` });
  }
  return new MachineError(
    `this machine has ${Math.floor(bytes / 1024 ** 2)} MiB of memory to spare, and this model needs ${needed} MiB`,
    { hint: `end other programs, or give --max-memory ${needed}M to try all the same: ${what}` },
  );
}

function refuseUnavailable(files: ModelFiles, precisions: readonly Precision[]): void {
  const available = availablePrecisions(files);
  const missing = precisions.find((precision) => !available.includes(precision));
  if (missing === undefined) return;
  throw new UsageError(`precision ${missing} is not in this model, only ${available.join(", ")}`, {
    hint: whyMissing(files),
  });
}

function whyMissing({ nested, converted }: ModelFiles): string {
  if (nested) return "the directory holds the FP8 view alone: 16-bit words need the lower files";
  return converted
    ? "no weight of this directory was split, `nestedfp inspect` says why: its nested precisions would be fp16"
    : "nested precisions need a directory that `nestedfp convert` wrote";
}
