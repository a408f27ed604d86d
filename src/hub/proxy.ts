import { Agent, Dispatcher, ProxyAgent } from "undici";
import type { ProxyOptions } from "./hub-options.ts";

type Agents = {
  readonly direct: Agent;
  readonly http: ProxyAgent | undefined;
  readonly https: ProxyAgent | undefined;
};

/**
 * Sends each request directly or through a proxy, by the scheme and host of its own address: a redirect may lead
 * from one to the other. (undici's EnvHttpProxyAgent does the same, but is experimental in its version 6 and says so
 * on stderr.)
 */
export class ProxyDispatcher extends Dispatcher {
  readonly #agents: Agents;
  readonly #no: readonly string[];

  constructor({ http, https, no }: ProxyOptions, options: Agent.Options) {
    super();
    const through = (uri: string): ProxyAgent | undefined =>
      uri === "" ? undefined : new ProxyAgent({ ...options, uri });
    this.#agents = { direct: new Agent(options), http: through(http), https: through(https) };
    this.#no = no
      .toLowerCase()
      .split(/[\s,]+/)
      .filter((entry) => entry !== "");
  }

  override dispatch(options: Agent.DispatchOptions, handler: Dispatcher.DispatchHandlers): boolean {
    const { direct, http, https } = this.#agents;
    const url = new URL(String(options.origin));
    const proxy = url.protocol === "https:" ? https : http;
    const agent = proxy === undefined || isExempt(url, this.#no) ? direct : proxy;
    return agent.dispatch(options, handler);
  }

  override async destroy(): Promise<void> {
    const { direct, http, https } = this.#agents;
    await Promise.all([direct.destroy(), http?.destroy(), https?.destroy()]);
  }
}

/** Whether NO_PROXY names a host: `*`, a name and all below it, or a name and a port. */
export function isExempt(url: URL, entries: readonly string[]): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return entries.some((entry) => {
    if (entry === "*") return true;
    const [, name = entry, only] = /^(.*[^:]):(\d+)$/.exec(entry) ?? [];
    const bare = name.replace(/^\*?\./, "").replace(/^\[|\]$/g, "");
    return (only === undefined || only === port) && (host === bare || host.endsWith(`.${bare}`));
  });
}
