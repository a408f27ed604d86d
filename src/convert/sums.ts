import { FormatError } from "../errors.ts";

export const sumsName = "nestedfp/SHA256SUMS";

/** One line of `sha256sum` output. */
export type Sum = { readonly path: string; readonly sha256: string };

/** Text that `sha256sum -c` reads; a name with a backslash or a line break is escaped as coreutils does. */
export function sumsText(sums: readonly Sum[]): string {
  return sums.map(({ path, sha256 }) => sumLine(path, sha256)).join("");
}

function sumLine(path: string, sha256: string): string {
  const escaped = path.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  return `${escaped === path ? "" : "\\"}${sha256}  ${escaped}\n`;
}

/** @throws FormatError for a line that is not `64 hex digits, two spaces, path`. */
export function parseSums(text: string): Sum[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line, i) => {
      const match = /^(\\?)([0-9a-f]{64}) [ *](.+)$/.exec(line);
      if (!match?.[2] || !match[3]) {
        throw new FormatError(`${sumsName} line ${i + 1} is not a sha256sum line`, {
          hint: "the file is damaged: fetch it again",
        });
      }
      return { path: match[1] ? unescapePath(match[3]) : match[3], sha256: match[2] };
    });
}

function unescapePath(escaped: string): string {
  return escaped.replace(/\\(.)/g, (_, char: string) => (char === "n" ? "\n" : char === "r" ? "\r" : char));
}
