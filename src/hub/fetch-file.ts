import { rename } from "node:fs/promises";
import { outputError, systemCode } from "../safetensors/system-error.ts";
import type { HubClient } from "./client.ts";
import { fileNamed, type Repository } from "./repository.ts";
import { type OnBytes, transfer } from "./transfer.ts";

/**
 * Brings a file to `target`, outside the cache, whole and checked or not at all. What an earlier call left, finished
 * or not, is checked and gone on with.
 *
 * @throws NetworkError, MachineError, FormatError
 */
export async function fetchFile(
  client: HubClient,
  repository: Repository,
  path: string,
  target: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  const file = fileNamed(repository, path);
  const partial = `${target}.incomplete`;
  // A finished one is taken up like a beginning: its hash is not known any more.
  await rename(target, partial).catch((error) => {
    if (systemCode(error) !== "ENOENT") throw outputError(error, target);
  });
  await transfer(client, repository, file, partial, signal, onBytes);
  await rename(partial, target).catch((error) => {
    throw outputError(error, target);
  });
}
