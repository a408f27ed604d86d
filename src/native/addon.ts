import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { MachineError } from "../errors.ts";

import type { NativeBinding } from "./binding.ts";

/** From src/native and from dist/native alike. */
const nativeFolder = new URL("../../native/", import.meta.url);

/** Where the addon may lie, in the order of trying: built here, then shipped with the package. */
export function addonPaths(): string[] {
  const places = [
    "build/Release/nestedfp.node",
    `prebuilds/${process.platform}-${process.arch}/nestedfp.node`,
  ];
  return places.map((place) => fileURLToPath(new URL(place, nativeFolder)));
}

/**
 * Loads the native addon; Node keeps it, so a second call is free.
 * @throws MachineError with every path tried and the real error of each.
 */
export function loadAddon(paths: readonly string[] = addonPaths()): NativeBinding {
  const require = createRequire(import.meta.url);
  const failures: { path: string; cause: unknown }[] = [];
  for (const path of paths) {
    try {
      return require(path) as NativeBinding;
    } catch (cause) {
      failures.push({ path, cause });
    }
  }
  const tried = failures.map(({ path, cause }) => `${path}: ${reasonOf(cause)}`).join("; ");
  throw new MachineError(
    `the native addon cannot be loaded on ${process.platform}-${process.arch}, Node ${process.version}; tried ${tried}`,
    {
      hint: "build it with `npm run build` (it needs python3, make and a C++20 compiler)",
      cause: new AggregateError(
        failures.map(({ cause }) => cause),
        "no addon could be loaded",
      ),
    },
  );
}

/**
 * Takes an exclusive lock on an open file, see {@link NativeBinding}.
 * @throws MachineError when the addon cannot be loaded.
 */
export function tryLock(fd: number): boolean {
  return loadAddon().tryLock(fd);
}

/** The first line; Node's own "not found" repeats the path and a require stack. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if ("code" in cause && cause.code === "MODULE_NOT_FOUND") return "not found";
  return cause.message.split("\n")[0] ?? cause.message;
}
