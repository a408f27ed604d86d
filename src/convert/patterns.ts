import picomatch from "picomatch";
import { UsageError } from "../errors.ts";
import { moduleOf } from "./linear-names.ts";

export type NameMatcher = (tensorName: string) => boolean;

/**
 * Compiles `--include` / `--exclude` patterns: a glob, or `re:` and a regular expression that must match
 * from the start (as in compressed-tensors), tried on the tensor name and on its module name (without
 * `.weight`). `*` also matches dots.
 *
 * @throws UsageError for a pattern that does not compile or that matches none of `names`.
 */
export function compilePatterns(
  flag: string,
  patterns: readonly string[],
  names: readonly string[],
): NameMatcher {
  const matchers = patterns.map((pattern) => compileOne(flag, pattern));
  for (const [i, matches] of matchers.entries()) {
    if (!names.some(matches)) {
      throw new UsageError(
        `${flag} ${JSON.stringify(patterns[i])} matches none of the ${names.length} tensors.`,
        {
          hint: "`nestedfp inspect SRC` lists the tensor names.",
        },
      );
    }
  }
  return (name) => matchers.some((matches) => matches(name));
}

function compileOne(flag: string, pattern: string): NameMatcher {
  const test = pattern.startsWith("re:") ? regularExpression(flag, pattern) : glob(flag, pattern);
  return (name) => {
    const module = moduleOf(name);
    return test(name) || (module !== undefined && test(module));
  };
}

function regularExpression(flag: string, pattern: string): (text: string) => boolean {
  try {
    const expression = new RegExp(`^(?:${pattern.slice(3)})`, "u");
    return (text) => expression.test(text);
  } catch (cause) {
    throw new UsageError(
      `${flag} ${JSON.stringify(pattern)} is not a regular expression: ${(cause as Error).message}.`,
      {
        cause,
      },
    );
  }
}

function glob(flag: string, pattern: string): (text: string) => boolean {
  try {
    return picomatch(pattern, { dot: true, nonegate: true });
  } catch (cause) {
    throw new UsageError(`${flag} ${JSON.stringify(pattern)} is not a glob: ${(cause as Error).message}.`, {
      cause,
    });
  }
}
