/**
 * Runs work on every item with at most `limit` workers and returns the results in order. `hireWorker` is called
 * once per worker, so that a worker can own buffers that its items share. The first failure aborts the signal
 * that the others see, waits until all have stopped, and is thrown.
 */
export async function concurrently<T, R>(
  items: readonly T[],
  limit: number,
  signal: AbortSignal,
  hireWorker: () => (item: T, index: number, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const results: R[] = new Array(items.length);
  const queue = items.entries();
  let failure: { readonly error: unknown } | undefined;
  const runWorker = async (): Promise<void> => {
    try {
      const work = hireWorker();
      for (const [index, item] of queue) {
        either.throwIfAborted();
        results[index] = await work(item, index, either);
      }
    } catch (error) {
      failure ??= { error };
      stop.abort(error);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, runWorker));
  if (failure) throw failure.error;
  return results;
}
