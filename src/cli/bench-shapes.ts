import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { dimensionsOfConfig } from "../bench/config-dimensions.ts";
import { presetModels } from "../bench/presets.ts";
import type { BenchShape, LayerDimensions } from "../bench/shapes.ts";
import { fusedShapes, mergeShapes, parseShape } from "../bench/shapes.ts";
import { UsageError } from "../errors.ts";
import { readWholeFile } from "../safetensors/reader.ts";
import { inputError } from "../safetensors/system-error.ts";

const largestConfig = 16 * 1024 * 1024;

/**
 * The shapes of a model, of presets and of a list, each once.
 *
 * @throws UsageError when nothing names a shape or --tp nothing to share, FormatError for a config.json that is not supported
 */
export async function benchShapes(
  model: string | undefined,
  {
    preset,
    shapes,
    tp,
  }: Readonly<Record<"preset" | "shapes", readonly string[]>> & {
    readonly tp: readonly number[];
  },
): Promise<BenchShape[]> {
  const models = [
    ...(model === undefined ? [] : [await dimensionsOf(model)]),
    ...preset.flatMap((list) => list.split(",")).flatMap((name) => presetModels(name.trim())),
  ];
  if (models.length === 0 && tp.some((gpus) => gpus !== 1)) {
    throw new UsageError("--tp shares the layers of a model or a preset, not those of --shapes", {
      hint: "give --shapes as one GPU has them, without --tp",
    });
  }
  const all = [
    ...models.flatMap((one) => tp.flatMap((gpus) => fusedShapes(one, gpus))),
    ...shapes.map(parseShape),
  ];
  if (all.length > 0) return mergeShapes(all);
  throw new UsageError("bench needs a model, --preset NAME or --shapes N,K", {
    hint: "for example --preset llama-3.1-8b",
  });
}

/** Of a directory, of a file beside its config.json, or of the config.json itself. */
async function dimensionsOf(path: string): Promise<LayerDimensions> {
  const info = await stat(path).catch((error) => {
    throw inputError(error, path);
  });
  const isConfig = info.isFile() && path.endsWith(".json") && !path.endsWith(".index.json");
  const folder = resolve(info.isDirectory() ? path : dirname(path));
  const config = isConfig ? path : join(folder, "config.json");
  return dimensionsOfConfig(await readWholeFile(config, largestConfig), config, basename(folder));
}
