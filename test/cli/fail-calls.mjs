// Loaded before the binary (NODE_OPTIONS=--import): lets the file system fail where a test wants it.
// NESTEDFP_FAIL is `CALL:NUMBER:CODE`: the NUMBERth call of write, sync, rename or open for writing, and every later one of
// its kind, fails with CODE. On exit the number of calls goes to the file NESTEDFP_CALLS.
import fs from "node:fs";
import fsPromises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { constants } from "node:os";

const [call, number, code] = (process.env.NESTEDFP_FAIL ?? "none:0:EIO").split(":");
const counts = { write: 0, sync: 0, rename: 0, open: 0 };

/** Counts a call. @throws the system's error when it is the one to fail */
function pass(name) {
  counts[name]++;
  if (name !== call || counts[name] < Number(number)) return;
  const error = new Error(`${code}: as the test asked, ${name}`);
  throw Object.assign(error, { code, errno: -constants.errno[code], syscall: name });
}

const probe = await fsPromises.open("/dev/null");
const prototype = Object.getPrototypeOf(probe);
await probe.close();
for (const name of ["write", "sync"]) {
  const original = prototype[name];
  prototype[name] = async function (...args) {
    pass(name);
    return original.apply(this, args);
  };
}
const { open, rename } = fsPromises;
fsPromises.open = async (path, flags, ...rest) => {
  if (typeof flags === "number" && flags & fs.constants.O_CREAT) pass("open");
  return open(path, flags, ...rest);
};
fsPromises.rename = async (...args) => {
  pass("rename");
  return rename(...args);
};
syncBuiltinESMExports();

process.on("exit", () => {
  if (process.env.NESTEDFP_CALLS) fs.writeFileSync(process.env.NESTEDFP_CALLS, JSON.stringify(counts));
});
