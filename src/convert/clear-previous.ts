import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { UsageError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { outputError } from "../safetensors/system-error.ts";
import { openConverted } from "./converted-directory.ts";
import { manifestName } from "./manifest.ts";
import type { OutputDirectory } from "./output-directory.ts";
import { sumsName } from "./sums.ts";

// The two that make a directory loadable go first: a kill while clearing must not leave an old view of new shards.
const loadable = ["config.json", "model.safetensors.index.json"];

const ownShards = /^(model-\d{5,}-of-\d{5,}\.safetensors|nestedfp\/lower-\d{5,}-of-\d{5,}\.nfp)$/;

// A loader would mix these up with what is written.
const foreignWeights = /\.(safetensors|bin|index\.json|gguf|nfp)$|(^|\/)hf_quant_config\.json$/;

/**
 * Makes room for a conversion that begins: removes what an earlier conversion wrote, finished or not. Other files stay.
 *
 * @throws UsageError for weights that nestedfp did not write: they are nobody's to delete, and would be loaded.
 */
export async function clearPrevious(directory: OutputDirectory): Promise<void> {
  const previous = await openConverted(directory.path).catch(() => undefined);
  const listed = new Set(loadable);
  if (previous) {
    for (const { path } of previous.manifest.files) listed.add(path);
    // In the root no checksum covers it, as hubs rewrite it: its copy tells that it came from the source.
    if (listed.has("nestedfp/source/README.md")) listed.add("README.md");
    listed.add(sumsName).add(manifestName);
  }
  const present = await filesOf(directory.path);
  // Only a conversion that had made room itself records that it is one: shards that stand here then are its own.
  const unlisted = directory.foundCommand === "convert";
  const isOwn = (path: string): boolean => listed.has(path) || (unlisted && ownShards.test(path));
  const foreign = present.find((path) => foreignWeights.test(path) && !isOwn(path));
  if (foreign !== undefined) {
    throw new UsageError(`${quote(directory.path)} holds ${quote(foreign)}, which nestedfp did not write`, {
      hint: "--force replaces only nestedfp's own output: choose another -o, or move that file away",
    });
  }
  for (const path of [...listed, ...present.filter((name) => !listed.has(name) && isOwn(name))]) {
    await rm(join(directory.path, path), { force: true }).catch((error) => {
      throw outputError(error, path);
    });
  }
}

/** The files of the root and of nestedfp/, relative to the root. */
async function filesOf(root: string): Promise<string[]> {
  const inFolder = await readdir(join(root, "nestedfp")).catch(() => []);
  return [...(await readdir(root)), ...inFolder.map((name) => `nestedfp/${name}`)];
}
