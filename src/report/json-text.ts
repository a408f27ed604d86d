import { printable } from "./format.ts";

/**
 * A result as the document of `--json` and of reports: what could steer a terminal is escaped, which JSON itself
 * asks for only of the first 32 characters.
 */
export function jsonText(document: unknown): string {
  const lines = JSON.stringify(document, null, 2).split("\n");
  return `${lines.map(printable).join("\n")}\n`;
}
