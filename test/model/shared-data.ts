import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** ../shared/data beside the checkout: models and texts too large, or not ours, to be part of it. */
export const sharedData = fileURLToPath(new URL("../../../shared/data/", import.meta.url));

/** For the `skip` option of a test that needs it. */
export const skipWithoutData = !existsSync(sharedData) && "skipped: ../shared/data is absent";

export function readJson(path: string) {
  return JSON.parse(readFileSync(path, "utf8"));
}
