/** Count, sum and sum of squared deviations of some values, in FP64; a plain JSON value. */
export type Moments = { readonly n: number; readonly sum: number; readonly m2: number };

export const noMoments: Moments = { n: 0, sum: 0, m2: 0 };

/** Two passes, so that nothing cancels. */
export function momentsOf(values: ArrayLike<number>): Moments {
  const n = values.length;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += values[i] ?? 0;
  const mean = n === 0 ? 0 : sum / n;
  let m2 = 0;
  for (let i = 0; i < n; i++) m2 += ((values[i] ?? 0) - mean) ** 2;
  return { n, sum, m2 };
}

/** The moments of the union (Chan, Golub and LeVeque 1979). */
export function mergeMoments(a: Moments, b: Moments): Moments {
  if (a.n === 0) return b;
  if (b.n === 0) return a;
  const n = a.n + b.n;
  const shift = b.sum / b.n - a.sum / a.n;
  return { n, sum: a.sum + b.sum, m2: a.m2 + b.m2 + (shift ** 2 * a.n * b.n) / n };
}

export function mean({ n, sum }: Moments): number {
  return sum / n;
}

/** sd / sqrt(n), sd with n - 1; null for fewer than two values. */
export function standardError({ n, m2 }: Moments): number | null {
  return n < 2 ? null : Math.sqrt(m2 / (n - 1) / n);
}
