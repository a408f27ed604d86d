import { FormatError } from "../errors.ts";
import type { CardFacts, CardPerplexity } from "../report/model-card.ts";
import { type PlainJson, parsePlain } from "../safetensors/json.ts";
import { quote } from "../safetensors/quote.ts";
import { readWholeFile } from "../safetensors/reader.ts";

const largestReport = 256 * 1024 * 1024;

/** Perplexities from a document that `eval --json` or `eval -o FILE.json` wrote. @throws FormatError */
export async function readEvaluation(path: string): Promise<NonNullable<CardFacts["evaluation"]>> {
  const refuse = (what: string): FormatError =>
    new FormatError(`${quote(path)} is no report of eval: ${what}`, {
      hint: "give a .json that `nestedfp eval -o` wrote",
    });
  const members = (value: PlainJson | undefined, what: string): { readonly [key: string]: PlainJson } => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
    throw refuse(`${what} is missing`);
  };
  const number = (value: PlainJson | undefined, what: string): number => {
    if (typeof value === "number" && value >= 0) return value;
    throw refuse(`${what} is no number`);
  };
  const document = members(parsePlain(await readWholeFile(path, largestReport), path), "the document");
  if (document.schema !== "nestedfp.eval/1") throw refuse(`its schema is ${quote(String(document.schema))}`);
  const result = members(document.result, "result");
  const rows = Object.entries(members(result.precisions, "result.precisions")).map(
    ([precision, value]): CardPerplexity => {
      if (!/^[a-z0-9-]{1,20}$/.test(precision)) throw refuse(`${quote(precision)} is no precision`);
      const { ppl, ppl_stderr, ppl_ratio } = members(value, precision);
      return {
        precision,
        ppl: number(ppl, "ppl"),
        ppl_stderr: ppl_stderr == null ? null : number(ppl_stderr, "ppl_stderr"),
        ppl_ratio: ppl_ratio == null ? null : number(ppl_ratio, "ppl_ratio"),
      };
    },
  );
  const [ctx, windows, scored] = (["ctx", "windows", "scored"] as const).map((key) =>
    number(result[key], key),
  );
  if (typeof result.method !== "string" || !/^[a-z.-]{1,20}$/.test(result.method))
    throw refuse("method is none");
  return { how: `Method ${result.method}, ctx ${ctx}, ${windows} windows, ${scored} scored ids.`, rows };
}
