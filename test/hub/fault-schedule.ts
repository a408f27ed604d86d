/** What goes wrong with an answer. */
export type Fault =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly text?: string;
      /** The text comes, and the end of the answer never: nothing more, or a byte now and then. */
      readonly unfinished?: true | "drips";
    }
  /** No answer at all, or none after `bytes` of the body. */
  | { readonly kind: "silence"; readonly bytes?: number }
  /** The connection breaks after `bytes` of the body. */
  | { readonly kind: "truncate"; readonly bytes: number }
  /** A body that is whole by its own Content-Length, and shorter or longer than the file. */
  | { readonly kind: "length"; readonly change: number }
  /** A body without a length that does not end. */
  | { readonly kind: "endless" }
  /** A byte of the body is another. */
  | { readonly kind: "corrupt" }
  /** The whole file, with 200, whatever range was asked for. */
  | { readonly kind: "ignore-range" }
  /** 206, but of another range. */
  | { readonly kind: "other-range" }
  | { readonly kind: "body"; readonly text: string; readonly headers?: Readonly<Record<string, string>> };

type Turn = { readonly match: RegExp; left: number };

/** Which requests are to fail, and how. */
export class FaultSchedule {
  readonly #allowed: Turn[] = [];
  readonly #faults: (Turn & { readonly fault: Fault })[] = [];

  /** The next `times` requests whose `METHOD url` matches fail like this. */
  fail(match: RegExp, fault: Fault, times = Number.POSITIVE_INFINITY): void {
    this.#faults.push({ match, fault, left: times });
  }

  /** The next `times` requests that match are answered as they should, before any fault. */
  allow(match: RegExp, times: number): void {
    this.#allowed.push({ match, left: times });
  }

  clear(): void {
    this.#allowed.length = 0;
    this.#faults.length = 0;
  }

  /** The fault of a request, `METHOD url`, whose turn it is now. */
  next(line: string): Fault | undefined {
    const isTurn = ({ match, left }: Turn): boolean => left > 0 && match.test(line);
    const allowed = this.#allowed.find(isTurn);
    if (allowed) {
      allowed.left--;
      return undefined;
    }
    const found = this.#faults.find(isTurn);
    if (found) found.left--;
    return found?.fault;
  }
}
