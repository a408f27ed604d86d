import { after } from "node:test";

import type { Codec } from "../../src/codec/codec.ts";
import { codecImplementations, createCodec } from "../../src/codec/create-codec.ts";
import { testEachImplementation } from "../native/each-implementation.ts";

export const testEach = testEachImplementation(
  ["avx512", "avx2", "neon", "scalar"],
  codecImplementations(),
  (implementation) => createCodec({ threads: 2, implementation }),
);

/** A codec that is closed when the file's tests are over. */
export function codecOfFile(threads = 2): Codec {
  const codec = createCodec({ threads });
  after(() => codec.close());
  return codec;
}
