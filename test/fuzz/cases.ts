import { FormatError } from "../../src/errors.ts";
import { Prng } from "../safetensors/prng.ts";
import { NotStrict } from "./slow-json.ts";

/** How many cases each fuzzer tries; `npm run fuzz` sets more. */
export const cases = Number(process.env.NESTEDFP_FUZZ_CASES ?? 4000);
const seed = Number(process.env.NESTEDFP_FUZZ_SEED ?? 20_250_602);

export type Verdict<T> = { readonly value: T } | { readonly error: unknown };

/** What a parser makes of a case. */
export function verdict<T>(parse: () => T): Verdict<T> {
  try {
    return { value: parse() };
  } catch (error) {
    return { error };
  }
}

/** Tries all cases; one that fails says how to see it again. @returns how many were accepted */
export function fuzz(
  salt: number,
  tryCase: (prng: Prng, number: number) => boolean,
): { tried: number; accepted: number } {
  let accepted = 0;
  for (let number = 0; number < cases; number++) {
    // A seed of its own for each case, so that one can be run alone.
    const prng = new Prng(seed + salt + 7919 * number);
    try {
      if (tryCase(prng, number)) accepted++;
    } catch (cause) {
      const reason = cause instanceof Error ? `${cause.message} (${String(cause.cause)})` : String(cause);
      throw new Error(`case ${number} of seed ${seed}: ${reason}`, { cause });
    }
  }
  return { tried: cases, accepted };
}

/** @throws Error unless both refuse, ours with a FormatError, or both accept */
export function agree<A, B>(
  ours: Verdict<A>,
  slow: Verdict<B>,
  input: Uint8Array,
): { readonly ours: A; readonly slow: B } | undefined {
  const shown = `${Buffer.from(input).toString("base64")} (base64)`;
  if ("error" in ours && !(ours.error instanceof FormatError))
    throw new Error(`not a FormatError for ${shown}`, { cause: ours.error });
  if ("error" in slow && !(slow.error instanceof NotStrict))
    throw new Error(`the slow checker fails on ${shown}`, { cause: slow.error });
  if ("error" in ours && "error" in slow) return undefined;
  if ("error" in ours) throw new Error(`refused, against every rule: ${shown}`, { cause: ours.error });
  if ("error" in slow) throw new Error(`accepted, against a rule: ${shown}`, { cause: slow.error });
  return { ours: ours.value, slow: slow.value };
}
