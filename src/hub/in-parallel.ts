/** Connections at a time: more give no more speed, and annoy servers. */
const parallelRequests = 4;

/**
 * Works on every item, several at a time, and returns the results in order. The first failure aborts the signal that
 * the others see, and is thrown when they have stopped.
 */
export async function inParallel<T, R>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const results: R[] = new Array(items.length);
  const queue = items.entries();
  let failure: { readonly error: unknown } | undefined;
  const takeTurns = async (): Promise<void> => {
    try {
      for (const [index, item] of queue) {
        either.throwIfAborted();
        results[index] = await work(item, either);
      }
    } catch (error) {
      failure ??= { error };
      stop.abort(error);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallelRequests, items.length) }, takeTurns));
  if (failure) throw failure.error;
  return results;
}
