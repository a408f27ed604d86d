import { summarise } from "./analyse.ts";
import type { InspectResult } from "./inspect.ts";
import { plannedTensor } from "./layout.ts";
import type { Manifest } from "./manifest.ts";
import type { PlanOptions } from "./plan.ts";
import { headerRules, planByHeaders } from "./plan.ts";
import type { ShardView } from "./source.ts";

/**
 * What headers alone tell of a checkpoint: a tensor that they would split may still stay whole for its values, and
 * range, row shifts and SQNR are not known.
 */
export function inspectHeaders(
  label: string,
  shards: readonly ShardView[],
  options: PlanOptions,
): InspectResult {
  const tensors = shards.flatMap(({ header }) => header.tensors);
  const plan = planByHeaders(tensors, headerRules(tensors, options), options);
  const { split_bytes, kept_bytes, ...summary } = summarise(tensors, (name) => plannedTensor(plan, name));
  return {
    source: label,
    converted: false,
    headers_only: true,
    tensors: tensors.map(({ name, dtype, shape }) => {
      const { action, reason } = plannedTensor(plan, name);
      return { name, dtype, shape, ...unmeasured, action, ...(reason && { reason }) };
    }),
    ...summary,
    bytes: { split: split_bytes, kept: kept_bytes },
  };
}

const unmeasured = { max_abs: null, row_shift_max: null, sqnr_db: null };

/** What the manifest of a converted checkpoint tells, without its planes. */
export function inspectManifest(label: string, manifest: Manifest): InspectResult {
  const { split, kept, coverage, reasons, split_bytes, kept_bytes } = manifest.summary;
  return {
    source: label,
    converted: true,
    headers_only: true,
    tensors: manifest.tensors.map(({ name, dtype, shape, max_abs, max_shift, planes, reason }) => ({
      name,
      dtype,
      shape,
      max_abs,
      action: planes === null ? "keep" : "nest",
      ...(reason && { reason }),
      row_shift_max: planes === null ? 0 : max_shift,
      sqnr_db: null,
    })),
    split,
    kept,
    coverage,
    reasons,
    bytes: { split: split_bytes, kept: kept_bytes },
  };
}
