import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { MachineError } from "../errors.ts";
import { addonPaths, loadAddon } from "../native/addon.ts";
import type { NativeBinding } from "../native/binding.ts";
import type { Finding } from "./finding.ts";

/** The addon, and which of its CPU implementations this processor runs. */
export function checkAddon(paths: readonly string[] = addonPaths()): Finding[] {
  try {
    const addon = loadAddon(paths);
    const found = paths.find((path) => existsSync(path)) ?? "";
    return [{ name: "addon", status: "ok", detail: found }, checkCpu(addon, availableParallelism())];
  } catch (error) {
    if (!(error instanceof MachineError)) throw error;
    const mend = error.hint ?? "npm run build";
    return [{ name: "addon", status: "fail", detail: error.message, mend }];
  }
}

/** Exported for processors that this machine does not have. */
export function checkCpu(
  addon: Pick<NativeBinding, "implementations" | "cpuImplementations">,
  threads: number,
): Finding {
  const [codec, device] = [addon.implementations(), addon.cpuImplementations()];
  const detail = `codec ${codec.join(", ")}; linear layers ${device.join(", ")}; ${threads} threads`;
  if (codec[0] !== "scalar" && device[0] !== "scalar") return { name: "cpu", status: "ok", detail };
  return {
    name: "cpu",
    status: "warn",
    detail: `${detail}: without vector instructions it is slow`,
    mend: "use a processor with AVX2, AVX-512 or NEON, or enable them in the virtual machine",
  };
}
