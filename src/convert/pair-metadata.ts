import { formatVersion } from "./quantization-config.ts";

/** `__metadata__` of the upper or lower file of shard `index` (from 0) of `count` (FORMAT.md §4). */
export function pairMetadata(
  role: "upper" | "lower",
  index: number,
  count: number,
  sourceSha256: string,
): ReadonlyMap<string, string> {
  return new Map([
    ["format", "pt"],
    ["nestedfp.format_version", formatVersion],
    ["nestedfp.role", role],
    ["nestedfp.shard", `${index + 1}/${count}`],
    ["nestedfp.source_sha256", sourceSha256],
  ]);
}
