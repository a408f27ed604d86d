// Loaded before the binary (NODE_OPTIONS=--import): measures what lies in the folder NESTEDFP_WATCH after every write and
// every new name, and on exit writes to the file NESTEDFP_PEAK the most bytes, and the most files named shard-*.
import fs from "node:fs";
import fsPromises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";

const folder = process.env.NESTEDFP_WATCH ?? "";
const peak = { bytes: 0, sources: 0, looks: 0 };

function look() {
  let bytes = 0;
  let sources = 0;
  const names = fs.existsSync(folder) ? fs.readdirSync(folder, { recursive: true, withFileTypes: true }) : [];
  for (const entry of names.filter((found) => found.isFile())) {
    bytes += fs.statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
    if (entry.name.startsWith("shard-")) sources++;
  }
  peak.bytes = Math.max(peak.bytes, bytes);
  peak.sources = Math.max(peak.sources, sources);
  peak.looks++;
}

/** The same function, with a look after it. */
function watched(original) {
  return async function (...args) {
    const result = await original.apply(this, args);
    look();
    return result;
  };
}

const probe = await fsPromises.open("/dev/null");
const prototype = Object.getPrototypeOf(probe);
await probe.close();
prototype.write = watched(prototype.write);
for (const name of ["rename", "copyFile", "link"]) fsPromises[name] = watched(fsPromises[name]);
syncBuiltinESMExports();

process.on("exit", () => fs.writeFileSync(process.env.NESTEDFP_PEAK ?? "", JSON.stringify(peak)));
