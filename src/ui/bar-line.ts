/** A bar of cells, and what is said after it. */
export type BarLine = { readonly full: string; readonly empty: string; readonly facts: string };

const widestBar = 24;
const narrowestBar = 6;

/**
 * Fits a line into `width` columns: the first of the facts that fits, or else the last, and a bar in what they leave.
 *
 * @param share from 0 to 1
 * @param facts the same said shorter and shorter
 */
export function barLine(share: number, facts: readonly [string, ...string[]], width: number): BarLine {
  const fitting = facts.find((text) => narrowestBar + 1 + text.length <= width) ?? facts.at(-1) ?? facts[0];
  const room = Math.min(widestBar, width - fitting.length - 1);
  if (room < narrowestBar) return { full: "", empty: "", facts: fitting };
  const filled = Math.round(room * share);
  return { full: "█".repeat(filled), empty: "░".repeat(room - filled), facts: ` ${fitting}` };
}
