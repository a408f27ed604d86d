import { compareUtf8 } from "../safetensors/compare-utf8.ts";
import { tensorBytes } from "../safetensors/header.ts";
import type { NamedTensor } from "./linear-names.ts";

export const weightIndexName = "model.safetensors.index.json";

/** The index of a set of shards, sorted by tensor name, with the size of all tensors. */
export function indexText(
  files: readonly { readonly file: string; readonly tensors: readonly NamedTensor[] }[],
): string {
  const entries = files.flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file] as const));
  entries.sort(([a], [b]) => compareUtf8(a, b));
  const total = files
    .flatMap(({ tensors }) => tensors)
    .reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0);
  // Written line by line: an object would put names that look like numbers first and lose `__proto__`.
  const lines = entries.map(([name, file]) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`);
  return `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${lines.join(",\n")}\n  }\n}\n`;
}
