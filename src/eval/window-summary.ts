import { FormatError } from "../errors.ts";

import { type Moments, momentsOf } from "./moments.ts";

/** What one precision gave for the scored ids of one window; all lists have one entry per scored id. */
export type WindowValues = {
  /** -ln p(id). */
  readonly nll: ArrayLike<number>;
  /** Against the reference precision on the same ids; absent for the reference itself. */
  readonly against?: {
    /** The reference's -ln p(id). */
    readonly nll: ArrayLike<number>;
    /** KL(reference || this precision), in nats, over the vocabulary. */
    readonly kld: ArrayLike<number>;
    /** 1 where both rank the same id first. */
    readonly sameTop1: ArrayLike<number>;
  };
};

/**
 * All that the metrics need of a window, as a plain JSON value: written down after each window, the list of these
 * is what a run resumes from.
 */
export type WindowSummary = {
  readonly nll: Moments;
  readonly against?: {
    /** This precision's NLL minus the reference's, id by id. */
    readonly difference: Moments;
    readonly kldSum: number;
    readonly kldMax: number;
    /** Float32 little-endian, base64: quantiles need every value. */
    readonly kld: string;
    readonly sameTop1: number;
    /** Sum of (p - p of the reference)^2 over the scored ids. */
    readonly squaredDeltaP: number;
  };
};

/**
 * Reduces the values of a window.
 * @param window its index, for errors
 * @throws FormatError when a value is not finite: the weights are damaged, or the arithmetic overflowed
 */
export function summariseWindow(values: WindowValues, window: number): WindowSummary {
  refuseNonFinite("NLL", values.nll, window);
  const nll = momentsOf(values.nll);
  const { against } = values;
  if (against === undefined) return { nll };
  refuseNonFinite("reference NLL", against.nll, window);
  refuseNonFinite("KL divergence", against.kld, window);
  for (const list of [against.nll, against.kld, against.sameTop1]) {
    if (list.length !== nll.n) throw new RangeError(`${list.length} values for ${nll.n} scored ids`);
  }
  const difference = new Float64Array(nll.n);
  let kldSum = 0;
  let kldMax = Number.NEGATIVE_INFINITY;
  let sameTop1 = 0;
  let squaredDeltaP = 0;
  for (let i = 0; i < nll.n; i++) {
    const [own, reference] = [values.nll[i] ?? 0, against.nll[i] ?? 0];
    const kld = against.kld[i] ?? 0;
    difference[i] = own - reference;
    kldSum += kld;
    kldMax = Math.max(kldMax, kld);
    sameTop1 += against.sameTop1[i] === 0 ? 0 : 1;
    squaredDeltaP += (Math.exp(-own) - Math.exp(-reference)) ** 2;
  }
  return {
    nll,
    against: {
      difference: momentsOf(difference),
      kldSum,
      kldMax,
      kld: packFloats(against.kld),
      sameTop1,
      squaredDeltaP,
    },
  };
}

/** Float32 values as base64 of their little-endian bytes. */
function packFloats(values: ArrayLike<number>): string {
  const bytes = Buffer.alloc(4 * values.length);
  for (let i = 0; i < values.length; i++) bytes.writeFloatLE(values[i] ?? 0, 4 * i);
  return bytes.toString("base64");
}

/** The inverse of the packing in `kld`. */
export function unpackFloats(text: string): Float32Array {
  const bytes = Buffer.from(text, "base64");
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

function refuseNonFinite(what: string, values: ArrayLike<number>, window: number): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new FormatError(`the ${what} of scored id ${i} in window ${window} is ${values[i]}`, {
      hint: "the weights hold NaN or infinity, or the precision overflowed: look at the tensors with inspect",
    });
  }
}
