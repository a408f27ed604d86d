import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { assertOk } from "../cli/run.ts";
import type { TensorData } from "../convert/checkpoints.ts";
import { decoderLayer, treeOf, withWord, writeCheckpoint } from "../convert/checkpoints.ts";
import { Prng } from "../safetensors/prng.ts";
import { filesOf } from "./contents.ts";
import type { HubRun } from "./hub-run.ts";

const NaN16 = 0x7e00;

/**
 * Two layers whose tensors go round over four shards, so that every fusion group spans shards. `broken` names
 * tensors that get a NaN, and so break their group.
 */
export function writeSpanning(
  directory: string,
  dtype: "F16" | "BF16",
  width: number,
  broken: readonly string[],
): string {
  const prng = new Prng(11);
  const shards: TensorData[][] = [[], [], [], []];
  let next = 0;
  for (const layer of [0, 1]) {
    for (const tensor of decoderLayer(prng, layer, dtype, width)) {
      const isBroken = broken.some((name) => tensor.name.endsWith(`${name}.weight`));
      const nan = dtype === "F16" ? NaN16 : 0x7fc0;
      shards[next++ % 4]?.push(isBroken ? withWord(tensor, 5, nan) : tensor);
    }
  }
  const names = shards.map((_, i) => `model-0000${i + 1}-of-00004.safetensors`);
  writeCheckpoint(directory, Object.fromEntries(shards.map((tensors, i) => [names[i], tensors])));
  writeFileSync(join(directory, "tokenizer.json"), "{}");
  return directory;
}

/** Publishes a folder and converts it the usual way. @returns what a streamed conversion must give */
export async function publish(
  { hub, scratch, run }: HubRun,
  id: string,
  folder: string,
  ...args: string[]
): Promise<Readonly<Record<string, string>>> {
  hub.add(id, { files: filesOf(folder) });
  const out = join(scratch, `reference-${id.replace("/", "-")}`);
  assertOk(await run(["convert", id, "-o", out, ...args], { cache: "references" }));
  hub.reset();
  return treeOf(out);
}
