import { refuseFullDisk } from "../safetensors/disk-space.ts";
import { clearPrevious } from "./clear-previous.ts";
import type { OutputDirectory } from "./output-directory.ts";
import type { RunRecord } from "./run-record.ts";

/**
 * Removes what an earlier conversion left, and refuses a disk without space for `bytes` of this one. Pairs that an
 * earlier run of it finished lie there already.
 *
 * @throws MachineError
 */
export async function makeRoom(
  directory: OutputDirectory,
  record: RunRecord,
  shards: number,
  bytes: number,
): Promise<void> {
  // Not only under --force: the run that is resumed may have been killed under it, before it came to this.
  if (!record.cleared) {
    await clearPrevious(directory);
    await directory.claim();
    await record.keepCleared();
  }
  let placed = 0;
  for (let index = 0; index < shards; index++) {
    const pair = await record.pairOf(index);
    if (pair) placed += pair.upper.size + pair.lower.size;
  }
  await refuseFullDisk(directory.path, bytes - placed);
}
