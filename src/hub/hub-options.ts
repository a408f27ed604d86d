/** How to reach the Hub and where its cache lies; cli/ reads them from flags and the environment. */
export type HubOptions = {
  /** Without a slash at its end, e.g. `https://huggingface.co`. */
  readonly endpoint: string;
  /** The cache that the Python tools use too; `models--org--name` folders lie in it. */
  readonly cache: string;
  /** Sent to the endpoint only, never to where it redirects, and never printed. */
  readonly token: string | undefined;
  /** Nothing but what the cache holds. */
  readonly offline: boolean;
  /** Silence, in milliseconds, after which a connection is given up. */
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly proxy: ProxyOptions;
  readonly userAgent: string;
};

export type RetryPolicy = {
  /** Tries in a row without any progress before an error is final. */
  readonly tries: number;
  /** Before the second try; doubled for each one after it. */
  readonly delayMs: number;
};

/** As HTTP_PROXY, HTTPS_PROXY and NO_PROXY say; empty for none. */
export type ProxyOptions = { readonly http: string; readonly https: string; readonly no: string };
