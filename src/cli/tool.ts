import { readFileSync } from "node:fs";

/** Name and version of this package, as manifests and reports record them. */
export function readTool(): { readonly name: string; readonly version: string } {
  const { name, version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return { name, version };
}
