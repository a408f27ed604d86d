export type Watch = {
  readonly signal: AbortSignal;
  /** Time without a request under way and without an event after which no end is to be expected. */
  readonly stallMs: number;
};

/** In how many steps the time is measured: a process that was stopped for long sees one of them. */
const steps = 10;

/**
 * Runs a generator of @huggingface/hub to its end. Its queue of events loses an error that comes while an event waits
 * to be taken, and the generator then never settles: so the first request that fails ends it here, and so does silence.
 *
 * @param begin makes the generator; the `fetch` and the signal are for it
 * @returns what the generator returns
 */
export async function settle<E, R>(
  begin: (request: typeof fetch, signal: AbortSignal) => AsyncGenerator<E, R>,
  request: typeof fetch,
  { signal, stallMs }: Watch,
  onEvent: (event: E) => void,
): Promise<R> {
  const stop = new AbortController();
  let running = 0;
  let idle = 0;
  let fail: (reason: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const watched: typeof fetch = async (...args) => {
    running++;
    try {
      return await request(...args);
    } catch (error) {
      fail(error);
      throw error;
    } finally {
      running--;
      idle = 0;
    }
  };
  const interrupt = (): void => fail(signal.reason);
  signal.addEventListener("abort", interrupt);
  const timer = setInterval(() => {
    idle = running > 0 ? 0 : idle + 1;
    if (idle > steps) fail(new TypeError(`nothing more came of it in ${stallMs / 1000} s`));
  }, stallMs / steps);
  const run = async (): Promise<R> => {
    const events = begin(watched, AbortSignal.any([signal, stop.signal]));
    for (;;) {
      const { done, value } = await events.next();
      stop.signal.throwIfAborted();
      idle = 0;
      if (done) return value;
      onEvent(value);
    }
  };
  try {
    return await Promise.race([run(), failed]);
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", interrupt);
    stop.abort();
  }
}
