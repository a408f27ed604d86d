import type { NativeBinding, NativePool } from "../native/binding.ts";

import type { Codec, Sha256 } from "./codec.ts";
import { syncSha256 } from "./reference-codec.ts";

/**
 * The codec on a pool of native threads. One call is one job on one thread, so results do not depend on how many
 * there are; callers keep several blocks in flight.
 * @throws RangeError for an implementation that this CPU does not run.
 */
export function nativeCodec(binding: NativeBinding, threads: number, implementation: string): Codec {
  const pool = new binding.Pool(threads, implementation);
  // The addon throws on a wrong argument; an async function turns that into a rejection.
  return {
    name: implementation,
    scanRows: async (...args) => pool.scanRows(...args),
    countLosses: async (...args) => pool.countLosses(...args),
    splitRows: async (...args) => pool.splitRows(...args),
    collectPatches: async (...args) => pool.collectPatches(...args),
    joinRows: async (...args) => pool.joinRows(...args),
    countNonCanonical: async (...args) => pool.countNonCanonical(...args),
    noiseOf: async (...args) => pool.noiseOf(...args),
    crc32: async (...args) => pool.crc32(...args),
    sha256: () => pooledSha256(pool) ?? syncSha256(),
    close: () => pool.close(),
  };
}

/** undefined on a node that keeps its OpenSSL to itself. */
function pooledSha256(pool: NativePool): Sha256 | undefined {
  const hash = pool.sha256();
  if (hash === null) return undefined;
  return {
    update: async (bytes) => hash.update(bytes),
    digest: async () => hash.digest(),
  };
}
