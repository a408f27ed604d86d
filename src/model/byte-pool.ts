/**
 * Arrays of bytes that are used again. Layers of a model are alike, so what one gave back is what the next one needs:
 * left to the garbage collector, several layers would be in memory at once.
 */
export class BytePool {
  readonly #free = new Map<number, Uint8Array[]>();

  /** An array of this length, with whatever it held before. */
  take(length: number): Uint8Array {
    return this.#free.get(length)?.pop() ?? new Uint8Array(length);
  }

  /** Nobody may use the array any more. */
  give(bytes: Uint8Array): void {
    const free = this.#free.get(bytes.length);
    if (free) free.push(bytes);
    else this.#free.set(bytes.length, [bytes]);
  }
}
