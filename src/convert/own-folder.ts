import { lstat, mkdir } from "node:fs/promises";
import { MachineError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import { outputError, systemCode } from "../safetensors/system-error.ts";

/** Makes a folder below the work folder, itself and not a link to one. @throws MachineError */
export async function makeOwnFolder(path: string): Promise<void> {
  await mkdir(path).catch((error) => {
    if (systemCode(error) !== "EEXIST") throw outputError(error, path);
  });
  if ((await lstat(path)).isDirectory()) return;
  throw new MachineError(`${quote(path)} is no folder, and output is never written through a link`, {
    hint: "remove it or choose another -o",
  });
}
