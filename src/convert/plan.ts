import type { SourceDtype } from "../codec/codec.ts";
import { maxRowShift } from "../codec/codec.ts";
import { FormatError, UsageError } from "../errors.ts";
import { fusionKey } from "./fusion.ts";
import type { NamedTensor } from "./linear-names.ts";
import { isEmbeddingOrHead, isFusedExperts, isLinearName, isMatrixWeight } from "./linear-names.ts";
import { compilePatterns } from "./patterns.ts";

/** Why a tensor stays 16-bit, in the order in which FORMAT.md §5 tries them. */
const reasons = [
  "unsupported_rank",
  "not_linear",
  "excluded",
  "dtype",
  "nonfinite",
  "range",
  "alignment",
  "bf16_inexact",
  "patches",
  "group",
] as const;
export type Reason = (typeof reasons)[number];

/** What to do with a BF16 tensor that holds words which binary16 cannot. */
export type Bf16Policy = "patch" | "refuse" | "keep" | "lossy";

export type PlanOptions = {
  /** Scale rows that exceed 1.875 by a power of two (FORMAT.md §2). Default true. */
  readonly rowShift: boolean;
  readonly bf16: Bf16Policy;
  /** Largest share of words (0..1) that may need a patch. Default 0.05. */
  readonly maxPatches: number;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /** Split F32 tensors, which cannot be restored. */
  readonly allowLossy: boolean;
};

export const defaultPlanOptions: PlanOptions = {
  rowShift: true,
  bf16: "patch",
  maxPatches: 0.05,
  include: [],
  exclude: [],
  allowLossy: false,
};

/** What the scan of a float tensor found. */
export type TensorScan = {
  /** max |w|; not finite when the tensor holds a NaN or an infinity. */
  readonly maxAbs: number;
  /** Largest row shift; above 15 when a row cannot be brought into range. */
  readonly maxShift: number;
  readonly inexact: number;
  readonly underflow: number;
};

export type PlannedTensor = {
  readonly name: string;
  readonly action: "nest" | "keep";
  readonly reason: Reason | undefined;
  /** Words in the patch list; 0 for a kept tensor. */
  readonly patches: number;
};

export type ConversionPlan = {
  readonly tensors: ReadonlyMap<string, PlannedTensor>;
  /** False when a split tensor lost words for good (`--bf16 lossy`, `--allow-lossy`). */
  readonly restorable: boolean;
};

/** The rules of FORMAT.md §5 that the headers alone decide; what passes them is worth a scan of its rows. */
export type HeaderRules = (tensor: NamedTensor) => Reason | undefined;

/** @throws UsageError for a pattern that matches nothing, or an `--include` that names embeddings or a head. */
export function headerRules(tensors: readonly NamedTensor[], options: PlanOptions): HeaderRules {
  const names = tensors.map((tensor) => tensor.name);
  const included = compilePatterns("--include", options.include, names);
  const excluded = compilePatterns("--exclude", options.exclude, names);
  const forbidden = names.find((name) => isEmbeddingOrHead(name) && included(name));
  if (forbidden !== undefined) {
    throw new UsageError(
      `--include matches ${JSON.stringify(forbidden)}, but embeddings and output heads are never split.`,
      {
        hint: "Narrow the pattern to linear projections.",
      },
    );
  }
  return (tensor) => {
    if (isFusedExperts(tensor)) return "unsupported_rank";
    if (!isMatrixWeight(tensor)) return "not_linear";
    if (!isLinearName(tensor.name) && !included(tensor.name)) return "not_linear";
    if (excluded(tensor.name)) return "excluded";
    return splittableDtype(tensor, options) === undefined ? "dtype" : undefined;
  };
}

/** The tensor's dtype if the options allow it to be split. */
function splittableDtype(tensor: NamedTensor, options: PlanOptions): SourceDtype | undefined {
  if (tensor.dtype === "F16" || tensor.dtype === "BF16") return tensor.dtype;
  return tensor.dtype === "F32" && options.allowLossy ? "F32" : undefined;
}

/**
 * Decides every tensor of a checkpoint. Pure: headers and scan results in, decisions out.
 *
 * @throws FormatError under `bf16: "refuse"` when a BF16 tensor that would be split has inexact words.
 */
export function planConversion(
  tensors: readonly NamedTensor[],
  scanOf: (name: string) => TensorScan | undefined,
  rules: HeaderRules,
  options: PlanOptions,
): ConversionPlan {
  const reasonOf = new Map<string, Reason | undefined>();
  for (const tensor of tensors) {
    reasonOf.set(tensor.name, rules(tensor) ?? dataReason(tensor, scanOf(tensor.name), options));
  }
  refuseInexactBf16(tensors, scanOf, reasonOf, options);
  keepBrokenGroups(reasonOf);

  const planned = new Map<string, PlannedTensor>();
  let restorable = true;
  for (const tensor of tensors) {
    const reason = reasonOf.get(tensor.name);
    const inexact = reason === undefined ? (scanOf(tensor.name)?.inexact ?? 0) : 0;
    const patched = reason === undefined && keepsPatches(tensor, options);
    if (reason === undefined && (tensor.dtype === "F32" || (inexact > 0 && !patched))) restorable = false;
    planned.set(tensor.name, {
      name: tensor.name,
      action: reason === undefined ? "nest" : "keep",
      reason,
      patches: patched ? inexact : 0,
    });
  }
  return { tensors: planned, restorable };
}

const harmless: TensorScan = { maxAbs: 0, maxShift: 0, inexact: 0, underflow: 0 };

/** As {@link planConversion} if no value of any tensor that is not scanned stands against a split. */
export function planByHeaders(
  tensors: readonly NamedTensor[],
  rules: HeaderRules,
  options: PlanOptions,
  scanOf: (name: string) => TensorScan | undefined = () => undefined,
): ConversionPlan {
  return planConversion(tensors, (name) => scanOf(name) ?? harmless, rules, options);
}

function dataReason(
  tensor: NamedTensor,
  scan: TensorScan | undefined,
  options: PlanOptions,
): Reason | undefined {
  if (scan === undefined) throw new Error(`no scan of ${tensor.name}`);
  const words = tensor.shape.reduce((product, n) => product * n, 1);
  if (!Number.isFinite(scan.maxAbs)) return "nonfinite";
  if (scan.maxShift > (options.rowShift ? maxRowShift : 0)) return "range";
  if (tensor.shape.some((n) => n % 16 !== 0)) return "alignment";
  if (tensor.dtype === "BF16" && options.bf16 === "keep" && scan.inexact > 0) return "bf16_inexact";
  if (keepsPatches(tensor, options) && scan.inexact > options.maxPatches * words) return "patches";
  return undefined;
}

/** Whether inexact words of this tensor go to a patch list. F32 words do not fit into one. */
function keepsPatches(tensor: NamedTensor, options: PlanOptions): boolean {
  return tensor.dtype === "F16" || (tensor.dtype === "BF16" && options.bf16 === "patch");
}

function refuseInexactBf16(
  tensors: readonly NamedTensor[],
  scanOf: (name: string) => TensorScan | undefined,
  reasonOf: ReadonlyMap<string, Reason | undefined>,
  options: PlanOptions,
): void {
  if (options.bf16 !== "refuse") return;
  const inexact = tensors
    .filter((tensor) => tensor.dtype === "BF16" && reasonOf.get(tensor.name) === undefined)
    .map((tensor) => ({ name: tensor.name, count: scanOf(tensor.name)?.inexact ?? 0 }))
    .filter(({ count }) => count > 0);
  const first = inexact[0];
  if (first === undefined) return;
  const total = inexact.reduce((sum, { count }) => sum + count, 0);
  throw new FormatError(
    `${total} BF16 words in ${inexact.length} tensors are not exact in binary16 (${JSON.stringify(first.name)} has ${first.count}), and --bf16 is refuse.`,
    { hint: "--bf16 patch (the default) keeps them in a patch list; --bf16 keep leaves such tensors BF16." },
  );
}

function keepBrokenGroups(reasonOf: Map<string, Reason | undefined>): void {
  const broken = new Set<string>();
  for (const [name, reason] of reasonOf) {
    const key = fusionKey(name);
    if (key !== undefined && reason !== undefined) broken.add(key);
  }
  for (const [name, reason] of reasonOf) {
    const key = fusionKey(name);
    if (key !== undefined && reason === undefined && broken.has(key)) reasonOf.set(name, "group");
  }
}
