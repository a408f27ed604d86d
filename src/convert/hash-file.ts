import { openInput, readFully } from "../safetensors/input-file.ts";
import { AtomicFile } from "../safetensors/writer.ts";
import type { RunContext } from "./run-context.ts";

export type HashedFile = { readonly size: number; readonly sha256: string };

/** SHA-256 of a whole file, read in blocks through a slot. @throws FormatError when it cannot be read */
export async function hashFile(path: string, context: RunContext, slot: 0 | 1 = 0): Promise<HashedFile> {
  return readHashed(path, context, context.buffers.slots[slot].source, async () => undefined);
}

/** Copies a file under a temporary name and hashes it on the way; the caller commits or aborts it. */
export async function copyHashed(
  path: string,
  temporaryPath: string,
  context: RunContext,
): Promise<HashedFile & { readonly file: AtomicFile }> {
  const file = await AtomicFile.create(temporaryPath);
  try {
    const hashed = await readHashed(path, context, context.buffers.slots[0].source, (bytes, position) =>
      file.write(bytes, position),
    );
    return { ...hashed, file };
  } catch (error) {
    await file.abort();
    throw error;
  }
}

async function readHashed(
  path: string,
  context: RunContext,
  block: Uint8Array,
  use: (bytes: Uint8Array, position: number) => Promise<void>,
): Promise<HashedFile> {
  const { handle, stats } = await openInput(path);
  try {
    const sha256 = context.codec.sha256();
    for (let position = 0; position < stats.size; position += block.length) {
      context.signal.throwIfAborted();
      const bytes = block.subarray(0, Math.min(block.length, stats.size - position));
      await readFully(handle, path, position, bytes);
      await Promise.all([sha256.update(bytes), use(bytes, position)]);
      context.onBytes(bytes.length);
    }
    return { size: stats.size, sha256: await sha256.digest() };
  } finally {
    await handle.close();
  }
}
