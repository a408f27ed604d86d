import { mean, mergeMoments, noMoments, standardError } from "./moments.ts";
import { unpackFloats, type WindowSummary } from "./window-summary.ts";
import type { Method } from "./windows.ts";

/** One precision's numbers, under the keys of the report. Shares and probabilities are fractions, logs natural. */
export type Metrics = Perplexity & Partial<Comparison>;

export type Perplexity = {
  readonly windows: number;
  /** Scored ids. */
  readonly tokens: number;
  readonly mean_nll: number;
  readonly ppl: number;
  /** sd(NLL) / sqrt(tokens) * ppl; null for one token. */
  readonly ppl_stderr: number | null;
};

/** Against the reference precision on the same ids. */
export type Comparison = {
  readonly delta_ln_ppl: number;
  /** Paired: sqrt(var(x) + var(reference) - 2 cov) / sqrt(tokens); null for one token. */
  readonly delta_ln_ppl_stderr: number | null;
  readonly ppl_ratio: number;
  readonly kld_mean: number;
  /** Quantiles interpolate linearly between order statistics, as llama.cpp and NumPy do (Hyndman-Fan type 7). */
  readonly kld_median: number;
  readonly kld_p99: number;
  readonly kld_p999: number;
  readonly kld_max: number;
  readonly same_top1: number;
  readonly same_top1_stderr: number | null;
  /** Root of the mean square of p(id) - p(id) of the reference. */
  readonly rms_delta_p: number;
};

/** Gathers the summaries of one precision's windows, in order. */
export class MetricsAccumulator {
  readonly #method: Method;
  #windows = 0;
  #nll = noMoments;
  #windowMeans = 0;
  #difference = noMoments;
  #windowDifferences = 0;
  #kldSum = 0;
  #kldMax = Number.NEGATIVE_INFINITY;
  readonly #klds: Float32Array[] = [];
  #sameTop1 = 0;
  #squaredDeltaP = 0;

  constructor(method: Method) {
    this.#method = method;
  }

  add({ nll, against }: WindowSummary): void {
    this.#windows++;
    this.#nll = mergeMoments(this.#nll, nll);
    this.#windowMeans += mean(nll);
    if (against === undefined) return;
    this.#difference = mergeMoments(this.#difference, against.difference);
    this.#windowDifferences += mean(against.difference);
    this.#kldSum += against.kldSum;
    this.#kldMax = Math.max(this.#kldMax, against.kldMax);
    this.#klds.push(unpackFloats(against.kld));
    this.#sameTop1 += against.sameTop1;
    this.#squaredDeltaP += against.squaredDeltaP;
  }

  /** Cheap enough to show after every window. NaN before the first. */
  perplexity(): Perplexity {
    const mean_nll = this.#mean(mean(this.#nll), this.#windowMeans);
    const ppl = Math.exp(mean_nll);
    const error = standardError(this.#nll);
    return {
      windows: this.#windows,
      tokens: this.#nll.n,
      mean_nll,
      ppl,
      ppl_stderr: error === null ? null : error * ppl,
    };
  }

  /** Everything that the windows so far give; the comparison is absent for the reference. */
  metrics(): Metrics {
    return { ...this.perplexity(), ...(this.#klds.length === 0 ? {} : this.#comparison()) };
  }

  #comparison(): Comparison {
    const { n } = this.#difference;
    const delta_ln_ppl = this.#mean(mean(this.#difference), this.#windowDifferences);
    const sorted = concatenate(this.#klds, n).sort();
    const same = this.#sameTop1 / n;
    return {
      delta_ln_ppl,
      delta_ln_ppl_stderr: standardError(this.#difference),
      ppl_ratio: Math.exp(delta_ln_ppl),
      kld_mean: this.#kldSum / n,
      kld_median: quantile(sorted, 0.5),
      kld_p99: quantile(sorted, 0.99),
      kld_p999: quantile(sorted, 0.999),
      kld_max: this.#kldMax,
      same_top1: same,
      same_top1_stderr: n < 2 ? null : Math.sqrt((same * (1 - same)) / (n - 1)),
      rms_delta_p: Math.sqrt(this.#squaredDeltaP / n),
    };
  }

  /** GPTQ's scripts average the windows, everyone else the ids. */
  #mean(overIds: number, sumOfWindowMeans: number): number {
    return this.#method === "gptq" ? sumOfWindowMeans / this.#windows : overIds;
  }
}

function concatenate(parts: readonly Float32Array[], length: number): Float32Array {
  const all = new Float32Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The value at place `fraction * (n - 1)` of the sorted values, between two places in proportion. */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  const place = fraction * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}
