import { FormatError } from "../errors.ts";
import type { Dtype } from "../safetensors/dtype.ts";
import type { NamedTensor } from "./linear-names.ts";
import type { ConversionPlan, PlannedTensor } from "./plan.ts";

/** The tensors that one split weight becomes (FORMAT.md §4). */
export type PlaneNames = {
  readonly upper: string;
  readonly scale: string;
  readonly lower: string;
  readonly patch_index: string;
  readonly patch_value: string;
};

export const sourceHeaderName = "__nestedfp__.source_header";

export function planeNames(weight: string): PlaneNames {
  return {
    upper: weight,
    scale: `${weight}_scale`,
    lower: `${weight}_lower`,
    patch_index: `${weight}_patch_index`,
    patch_value: `${weight}_patch_value`,
  };
}

/** What goes into the two files of one shard, in no particular order. */
export type PairLayout = { readonly upper: readonly NamedTensor[]; readonly lower: readonly NamedTensor[] };

/** What a layout needs to know of a tensor: whether it is split, and into how many patches. */
export type Decision = { readonly action: "nest" | "keep"; readonly patches: number };

/** @param source the tensors of one source shard and the 8 + N bytes of its header */
export function layoutPair(
  source: { readonly tensors: readonly NamedTensor[]; readonly headerBytes: number },
  decisionOf: (name: string) => Decision,
): PairLayout {
  const upper: NamedTensor[] = [];
  const lower: NamedTensor[] = [tensor(sourceHeaderName, "U8", [source.headerBytes])];
  for (const info of source.tensors) {
    const decision = decisionOf(info.name);
    if (decision.action === "keep") {
      upper.push(info);
      continue;
    }
    const names = planeNames(info.name);
    upper.push(
      tensor(names.upper, "F8_E4M3", info.shape),
      tensor(names.scale, "F32", [info.shape[0] ?? 0, 1]),
    );
    lower.push(tensor(names.lower, "U8", info.shape));
    if (decision.patches > 0) {
      const indexDtype = patchIndexBytes(info) === 8 ? "U64" : "U32";
      lower.push(tensor(names.patch_index, indexDtype, [decision.patches]));
      lower.push(tensor(names.patch_value, "U16", [decision.patches]));
    }
  }
  return { upper, lower };
}

export function plannedTensor(plan: ConversionPlan, name: string): PlannedTensor {
  const planned = plan.tensors.get(name);
  if (planned === undefined) throw new Error(`no plan for ${name}`);
  return planned;
}

/** Bytes of one patch position: 4, or 8 where the tensor has more than 2^32 words. */
export function patchIndexBytes(tensor: Pick<NamedTensor, "shape">): 4 | 8 {
  return tensor.shape.reduce((product, n) => product * n, 1) > 2 ** 32 ? 8 : 4;
}

/** @throws FormatError when a name that the split adds already names a tensor of the source. */
export function refuseCollisions(tensors: readonly NamedTensor[], plan: ConversionPlan): void {
  const taken = new Set(tensors.map((info) => info.name));
  const check = (added: string, because: string): void => {
    if (!taken.has(added)) return;
    throw new FormatError(`The source has a tensor ${JSON.stringify(added)}, a name that ${because} needs.`, {
      hint: "Rename it, or keep the weight whole with --exclude.",
    });
  };
  check(sourceHeaderName, "the format");
  for (const info of tensors) {
    if (plannedTensor(plan, info.name).action === "keep") continue;
    const { upper: _, ...added } = planeNames(info.name);
    for (const name of Object.values(added)) check(name, `the split of ${JSON.stringify(info.name)}`);
  }
}

function tensor(name: string, dtype: Dtype, shape: readonly number[]): NamedTensor {
  return { name, dtype, shape };
}

/** `model-00002-of-00004.safetensors` and its lower file, for shard `index` (from 0) of `count`. */
export function pairFileNames(
  index: number,
  count: number,
): { readonly upper: string; readonly lower: string } {
  const digits = (n: number): string => String(n).padStart(5, "0");
  const numbers = `${digits(index + 1)}-of-${digits(count)}`;
  return { upper: `model-${numbers}.safetensors`, lower: `nestedfp/lower-${numbers}.nfp` };
}
