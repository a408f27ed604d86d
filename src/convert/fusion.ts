import { leafOf, moduleOf } from "./linear-names.ts";

// Engines load each of these sets as one matrix and need one quantisation scheme for it (FORMAT.md §5 rule 10).
const fusedLeaves: readonly (readonly string[])[] = [
  ["q_proj", "k_proj", "v_proj"],
  ["gate_proj", "up_proj"],
  ["w1", "w3"],
  ["query", "key", "value"],
  ["q_a_proj", "kv_a_proj_with_mqa"],
  ["in_proj_qkv", "in_proj_z"],
  ["in_proj_b", "in_proj_a"],
];

const setOfLeaf = new Map(fusedLeaves.flatMap((leaves, set) => leaves.map((leaf) => [leaf, set] as const)));

const routedExpert = /^(.*)\.experts\.\d+\.(?:gate_proj|up_proj|down_proj|w1|w2|w3)$/;

/** A key shared by the weights that must be split together, undefined for a weight that stands alone. */
export function fusionKey(name: string): string | undefined {
  const module = moduleOf(name);
  if (module === undefined) return undefined;
  const experts = routedExpert.exec(module);
  if (experts) return `${experts[1]}.experts`;
  const leaf = leafOf(module);
  const set = setOfLeaf.get(leaf);
  return set === undefined ? undefined : `${module.slice(0, module.length - leaf.length)}#${set}`;
}
