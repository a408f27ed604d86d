import { UsageError } from "../errors.ts";

const largestM = 2 ** 20;
const mostValues = 10_000;

/**
 * Numbers of tokens as llama-bench writes ranges: `1,2,4,8,16-4096*2`. `a-b` counts by one, `a-b+s` by s, `a-b*f`
 * multiplies by f. In the order given, each once.
 *
 * @throws UsageError
 */
export function parseMRange(text: string): number[] {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    for (const value of expand(part.trim(), text)) {
      values.add(value);
      if (values.size > mostValues) refuse(text, `it gives more than ${mostValues} values`);
    }
  }
  return [...values];
}

function* expand(part: string, text: string): Generator<number> {
  const match = /^(\d{1,9})(?:-(\d{1,9})(?:([+*])(\d{1,9}))?)?$/.exec(part);
  if (!match) refuse(text, `${JSON.stringify(part)} is neither a number nor a range`);
  const [, first = "", last = first, sign = "+", step = "1"] = match;
  const [from, to, by] = [Number(first), Number(last), Number(step)];
  if (from < 1 || to > largestM) refuse(text, `${part} leaves 1 to ${largestM}`);
  if (to < from) refuse(text, `${part} runs backwards`);
  if (by < (sign === "*" ? 2 : 1)) refuse(text, `${part} never ends`);
  for (let value = from; value <= to; value = sign === "*" ? value * by : value + by) yield value;
}

function refuse(text: string, why: string): never {
  throw new UsageError(`-m ${JSON.stringify(text)}: ${why}`, {
    hint: "write it as llama-bench does: 1,2,4,8,16-4096*2",
  });
}
