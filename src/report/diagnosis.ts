import type { DoctorResult } from "../doctor/doctor.ts";
import { printable } from "./format.ts";

export function diagnosisReport({ ok, findings }: DoctorResult): string {
  const width = findings.reduce((longest, { name }) => Math.max(longest, name.length), 0);
  const lines = findings.flatMap(({ name, status, detail, mend }) => [
    `${status.padEnd(4)}  ${name.padEnd(width)}  ${printable(detail)}`,
    ...(mend === undefined ? [] : [`${" ".repeat(width + 8)}-> ${printable(mend)}`]),
  ]);
  const count = (wanted: string): number => findings.filter(({ status }) => status === wanted).length;
  const [warnings, failures] = [count("warn"), count("fail")];
  const verdict = ok
    ? `nestedfp works here${warnings > 0 ? `, ${warnings} ${warnings === 1 ? "warning" : "warnings"}` : ""}`
    : `nestedfp does not work here: ${failures} failed`;
  return [...lines, "", verdict].join("\n");
}
