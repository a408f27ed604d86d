import { seededRandom } from "./seeded-random.ts";

/** Draws from seededRandom, so that a failing case can be run again. */
export class Prng {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return (this.#random() * 2 ** 32) % bound;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, key: this.below(2 ** 32) }))
      .sort((a, b) => a.key - b.key)
      .map(({ item }) => item);
  }
}
