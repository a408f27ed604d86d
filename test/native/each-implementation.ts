import { type TestContext, test } from "node:test";

/** Registers one test for each implementation that exists; those of another CPU are reported as skipped. */
export function testEachImplementation<T extends { close(): void }>(
  known: readonly string[],
  supported: readonly string[],
  open: (implementation: string) => T,
): (title: string, body: (opened: T, t: TestContext) => Promise<void>) => void {
  return (title, body) => {
    for (const implementation of known) {
      const skip = !supported.includes(implementation) && `this CPU does not run ${implementation}`;
      test(`${implementation}: ${title}`, { skip }, async (t) => {
        const opened = open(implementation);
        try {
          await body(opened, t);
        } finally {
          opened.close();
        }
      });
    }
  };
}
