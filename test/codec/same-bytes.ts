import { AssertionError } from "node:assert";

/** Fails with the first index that differs and both values, as elements of `unit` bytes. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what: string, unit = 1): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const at = Math.floor(actual.findIndex((byte, k) => byte !== expected[k]) / unit);
  const length = `${actual.length} bytes, expected ${expected.length}`;
  throw new AssertionError({
    message:
      at < 0
        ? `${what}: ${length}`
        : `${what}: first difference at ${at}: got ${hex(actual, at, unit)}, expected ${hex(expected, at, unit)}`,
    stackStartFn: assertSameBytes,
  });
}

/** The most significant digit first. */
function hex(bytes: Uint8Array, at: number, unit: number): string {
  const element = bytes.slice(at * unit, (at + 1) * unit).reverse();
  return `0x${Buffer.from(element).toString("hex")}`;
}
