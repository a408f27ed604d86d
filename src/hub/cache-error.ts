import { MachineError } from "../errors.ts";
import { outputHint, systemCode } from "../safetensors/system-error.ts";

/** What the user can choose instead of the cache. */
export const anotherCache = "another cache with HF_HUB_CACHE or HF_HOME";
const place = { the: "the Hub's cache", another: anotherCache };

/**
 * Runs work that writes to the cache: where the system refuses, the hint is about the cache, which no option of a
 * command names.
 */
export async function inCache<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof MachineError) || systemCode(error.cause) === "") throw error;
    throw new MachineError(error.message, { hint: outputHint(error.cause, place), cause: error.cause });
  }
}
