import type { Codec } from "../codec/codec.ts";
import type { Constants, Device, Precision, Weights } from "../device/device.ts";
import { UsageError } from "../errors.ts";
import type { ModelSpec } from "./config.ts";
import { bytesPerToken } from "./decoder.ts";
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
  /** Bytes left for activations. */
  readonly activationBytes: number;
};

// Windows that go through the layers together should be at least this many tokens, or reading layers again for
// each group would dominate.
const fewestTokens = 4096;

// Two blocks of logits (src/eval/evaluate.ts) and the scratch of the CPU device.
const fixedBytes = (2 * 32 + 16) * 1024 ** 2;

/**
 * Loads what stays in memory, and prepares the layers to stay or to stream under `maxMemory` bytes.
 *
 * @param longestWindow in tokens; a window passes the layers whole
 *
 * @throws UsageError for a precision that the model does not have, or when not even one layer fits
 */
export async function loadModel(
  files: ModelFiles,
  device: Device,
  codec: Codec,
  precisions: readonly Precision[],
  maxMemory: number,
  longestWindow: number,
): Promise<LoadedModel> {
  refuseUnavailable(files, precisions);
  const { spec } = files;
  const loader = new WeightLoader(files, device, codec, precisions);
  const headBytes = 2 * spec.vocabSize * spec.hiddenSize * (spec.tieWordEmbeddings ? 1 : 2);
  const tokens = Math.max(fewestTokens, longestWindow);
  const activationBytes = tokens * (bytesPerToken(spec) + 4 * spec.hiddenSize * precisions.length);
  // Streaming holds the layer in use, the next one, and copies of the first for fp16 and fp8.
  const layerBytes = Math.max(
    ...Array.from({ length: spec.layers }, (_, layer) => loader.storedBytes(layer)),
  );
  const copies = precisions.some((precision) => precision === "fp16" || precision === "fp8") ? 2 : 0;
  const forLayers = maxMemory - fixedBytes - headBytes - activationBytes - copies * layerBytes;
  if (forLayers < 2 * layerBytes) {
    const least = fixedBytes + headBytes + activationBytes + (2 + copies) * layerBytes;
    throw new UsageError(
      `--max-memory ${mebibytes(maxMemory)} MiB is too little: this model needs ${mebibytes(least)} MiB`,
      {
        hint: "one layer at a time, the next, the embeddings and some windows must fit",
      },
    );
  }
  const layers = new LayerSource(loader, spec.layers, forLayers);
  const embedding = await loader.embedding();
  return {
    device,
    spec,
    layers,
    embedding,
    finalNorm: await loader.finalNorm(),
    head: await loader.head(spec, embedding),
    activationBytes: layers.resident ? activationBytes : activationBytes + forLayers - 2 * layerBytes,
  };
}

function refuseUnavailable(files: ModelFiles, precisions: readonly Precision[]): void {
  const available = availablePrecisions(files);
  const missing = precisions.find((precision) => !available.includes(precision));
  if (missing === undefined) return;
  throw new UsageError(`precision ${missing} is not in this model, only ${available.join(", ")}`, {
    hint: files.converted
      ? "the directory holds the FP8 view alone: 16-bit words need the lower files"
      : "nested precisions need a directory that `nestedfp convert` wrote",
  });
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 2);
}
