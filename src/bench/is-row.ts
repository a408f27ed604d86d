import { isObject } from "./is-object.ts";
import type { BenchRow } from "./row.ts";

/**
 * What tells a row from others and what `compare` reads of it: kernel, configuration, sizes, and times in order, of
 * what was right.
 */
export function isTimedRow(row: unknown): row is BenchRow {
  if (!isObject(row) || typeof row.kernel !== "string" || typeof row.shape !== "string") return false;
  if (typeof row.config !== "string" && row.config !== null) return false;
  if (!["m", "n", "k"].every((key) => isCount(row[key]) && row[key] > 0) || !isCount(row.samples))
    return false;
  const { q1_us, median_us, q3_us, status = "ok" } = row;
  if (median_us === null) return true;
  const areTimes = isTime(q1_us) && isTime(median_us) && isTime(q3_us);
  return areTimes && q1_us <= median_us && median_us <= q3_us && row.samples > 0 && status === "ok";
}

const statuses: readonly unknown[] = [
  "ok",
  "incorrect",
  "error",
  "unsupported",
] satisfies BenchRow["status"][];

const optionalNumbers = ["quantise_us", "median_with_quantise_us"];

const numbersOrNull = [
  ...["tflops", "gb_s", "vs_fp16"],
  ...["sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c"],
];

/** A row as `bench` writes it, with all that a report shows. */
export function isBenchRow(row: unknown): row is BenchRow {
  if (!isTimedRow(row)) return false;
  const { status, check, throttle_reasons, samples_us, error = "", throttled, discarded } = row;
  const { details = "" } = row;
  const fields: Readonly<Record<string, unknown>> = row;
  return (
    statuses.includes(status) &&
    typeof error === "string" &&
    typeof details === "string" &&
    (check === null || isObject(check)) &&
    typeof throttled === "boolean" &&
    isCount(discarded) &&
    isObject(throttle_reasons) &&
    Object.values(throttle_reasons).every(isCount) &&
    Array.isArray(samples_us) &&
    samples_us.every((time) => typeof time === "number") &&
    optionalNumbers.every((key) => ["number", "undefined"].includes(typeof fields[key])) &&
    numbersOrNull.every((key) => fields[key] === null || typeof fields[key] === "number")
  );
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value > 0 && Number.isFinite(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
