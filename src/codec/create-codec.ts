import { loadAddon } from "../native/addon.ts";

import type { Codec } from "./codec.ts";
import { nativeCodec } from "./native-codec.ts";
import { referenceCodec } from "./reference-codec.ts";

export type CodecOptions = {
  /** Worker threads, 1 to 1024. */
  readonly threads: number;
  /** One of {@link codecImplementations}; default: the best. */
  readonly implementation?: string | undefined;
};

/**
 * The codec of this machine. There is no silent fallback: without the addon only "reference" works.
 * @throws MachineError when the addon cannot be loaded.
 * @throws RangeError for an implementation that this CPU does not run, or for a wrong number of threads.
 */
export function createCodec({ threads, implementation }: CodecOptions): Codec {
  if (implementation === "reference") return referenceCodec();
  const addon = loadAddon();
  return nativeCodec(addon, threads, implementation ?? addon.implementations()[0] ?? "scalar");
}

/**
 * What `implementation` may be on this machine, best first; "reference" is the last.
 * @throws MachineError when the addon cannot be loaded.
 */
export function codecImplementations(): string[] {
  return [...loadAddon().implementations(), "reference"];
}
