import { after, type TestContext, test } from "node:test";

import type { Codec } from "../../src/codec/codec.ts";
import { codecImplementations, createCodec } from "../../src/codec/create-codec.ts";

/** All that exist; those of another CPU are reported as skipped. */
const known = ["avx512", "avx2", "neon", "scalar"];

const supported = codecImplementations();

/** Registers one test for each native implementation. */
export function testEach(title: string, body: (codec: Codec, t: TestContext) => Promise<void>): void {
  for (const implementation of known) {
    const skip = !supported.includes(implementation) && `this CPU does not run ${implementation}`;
    test(`${implementation}: ${title}`, { skip }, async (t) => {
      const codec = createCodec({ threads: 2, implementation });
      try {
        await body(codec, t);
      } finally {
        codec.close();
      }
    });
  }
}

/** A codec that is closed when the file's tests are over. */
export function codecOfFile(threads = 2): Codec {
  const codec = createCodec({ threads });
  after(() => codec.close());
  return codec;
}
