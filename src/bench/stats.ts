/** Order statistics of samples, in their unit. */
export type Quartiles = { readonly median: number; readonly q1: number; readonly q3: number };

/** Quantile of sorted samples, linear between order statistics (type 7 of Hyndman and Fan: R's and NumPy's default). */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const low = sorted[below] ?? Number.NaN;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? Number.NaN;
  return low + (position - below) * (high - low);
}

export function quartilesOf(samples: readonly number[]): Quartiles {
  const sorted = Float64Array.from(samples).sort();
  return { median: quantile(sorted, 0.5), q1: quantile(sorted, 0.25), q3: quantile(sorted, 0.75) };
}

export function medianOf(samples: readonly number[]): number {
  return quantile(Float64Array.from(samples).sort(), 0.5);
}

/** What `--max-noise` bounds: the interquartile range over the median. One outlier does not move it. */
export function noiseOf({ median, q1, q3 }: Quartiles): number {
  return (q3 - q1) / median;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
