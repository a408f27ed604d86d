/** A set of disjoint byte ranges [start, end); ranges that touch are merged, so blocks in order stay one range. */
export class ByteRanges {
  readonly #ranges: { start: number; end: number }[] = [];

  /** Adds a range. @returns false, with nothing changed, when it overlaps one that is there */
  add(start: number, end: number): boolean {
    if (start === end) return true;
    const ranges = this.#ranges;
    const at = this.#firstEndingFrom(start);
    // The range that ends exactly at `start` is the one to extend; what follows it must begin at `end` or later.
    const before = ranges[at]?.end === start ? ranges[at] : undefined;
    const next = before === undefined ? at : at + 1;
    const after = ranges[next];
    if (after !== undefined && after.start < end) return false;
    const touches = after?.start === end;
    if (before !== undefined) {
      before.end = touches ? after.end : end;
      if (touches) ranges.splice(next, 1);
    } else if (touches) {
      after.start = start;
    } else {
      ranges.splice(at, 0, { start, end });
    }
    return true;
  }

  /** Whether all of [start, end) is in the set. */
  covers(start: number, end: number): boolean {
    return start === end || this.firstMissing(start) >= end;
  }

  /** The first byte from `start` on that is not in the set. */
  firstMissing(start: number): number {
    const range = this.#ranges[this.#firstEndingFrom(start + 1)];
    return range !== undefined && range.start <= start ? range.end : start;
  }

  /** Index of the first range whose end is `position` or later. */
  #firstEndingFrom(position: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ranges[middle]?.end ?? 0) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
