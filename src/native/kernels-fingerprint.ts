import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** The first 12 hexadecimal digits of a hash of the cubins in a folder: times of others are times of other kernels. */
export async function kernelsFingerprint(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".cubin")).sort();
  const hash = createHash("sha256");
  for (const name of names) {
    const bytes = await readFile(join(folder, name));
    hash.update(`${name} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex").slice(0, 12);
}
