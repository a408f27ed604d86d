import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { UsageError } from "../errors.ts";
import type { HubOptions } from "../hub/hub-options.ts";
import { quote } from "../safetensors/quote.ts";
import { readTool } from "./tool.ts";

/** What every command takes that reads from or writes to the Hub. */
export type HubFlags = { readonly revision?: string; readonly token?: string; readonly offline?: boolean };

export function addHubOptions(command: Command): Command {
  return command
    .option("--revision <rev>", "branch, tag or commit of a Hub repository (default: main)")
    .option("--token <token>", "Hub token (default: HF_TOKEN, then the one that `hf auth login` stored)")
    .option("--offline", "use only what the Hub cache holds, as HF_HUB_OFFLINE=1", false);
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Flags and the variables that the Python tools read too. @throws UsageError */
export function readHubOptions(flags: HubFlags, env: Environment = process.env): HubOptions {
  const home = expand(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface"));
  const all = env.all_proxy || env.ALL_PROXY || "";
  return {
    endpoint: endpointOf(env.HF_ENDPOINT || "https://huggingface.co"),
    cache: expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, "hub")),
    token: tokenOf(flags, env, home),
    offline: (flags.offline ?? false) || isTrue(env.HF_HUB_OFFLINE) || isTrue(env.TRANSFORMERS_OFFLINE),
    timeoutMs: 1000 * numberOf("HF_HUB_DOWNLOAD_TIMEOUT", env, 10),
    retry: { tries: 5, delayMs: numberOf("NESTEDFP_RETRY_MS", env, 1000) },
    proxy: {
      http: proxyOf("HTTP_PROXY", env.http_proxy || env.HTTP_PROXY || all),
      https: proxyOf("HTTPS_PROXY", env.https_proxy || env.HTTPS_PROXY || all),
      no: env.no_proxy || env.NO_PROXY || "",
    },
    userAgent: `nestedfp/${readTool().version}`,
  };
}

/** --token, then HF_TOKEN, then the stored one. No error shows any of it. */
function tokenOf({ token }: HubFlags, env: Environment, home: string): string | undefined {
  const given = token ?? (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || undefined);
  const path = expand(env.HF_TOKEN_PATH || join(home, "token"));
  const text = (given ?? (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? "" : storedToken(path))).trim();
  if (text === "") return undefined;
  if (/^[\x21-\x7e]{1,512}$/.test(text)) return text;
  throw new UsageError("the Hub token holds a character that no token has", {
    hint: "check --token, HF_TOKEN and the stored token",
  });
}

function storedToken(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url &&
    /^https?:$/.test(url.protocol) &&
    url.username + url.password === "" &&
    url.search === "" &&
    url.hash === ""
  ) {
    return text.replace(/\/+$/, "");
  }
  // A password or a token may stand in it.
  if (/[@?#]/.test(text)) {
    throw new UsageError("HF_ENDPOINT holds a user, a query or a fragment, which no address of a Hub has", {
      hint: "write https://host; a token goes into HF_TOKEN",
    });
  }
  throw new UsageError(`HF_ENDPOINT is ${quote(text)}, which is no http or https address`);
}

/** @throws UsageError without the address, which may hold a password */
function proxyOf(name: string, text: string): string {
  if (text === "") return "";
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url;
  throw new UsageError(`${name} is no http or https address`, { hint: "write http://host:port" });
}

function numberOf(name: string, env: Environment, otherwise: number): number {
  const text = env[name];
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0 && value <= 86_400) return value;
  throw new UsageError(`${name} is ${quote(text)}, not a number above 0`);
}

function isTrue(text: string | undefined): boolean {
  return ["1", "ON", "YES", "TRUE"].includes((text ?? "").toUpperCase());
}

function expand(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

/** Command line arguments as a report may show them. */
export function withoutTokens(args: readonly string[]): string[] {
  return args.map((arg, i) => {
    if (args[i - 1] === "--token") return "***";
    return arg.startsWith("--token=") ? "--token=***" : arg;
  });
}
