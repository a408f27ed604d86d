import { NetworkError } from "../errors.ts";
import { quote } from "../safetensors/quote.ts";
import type { HubOptions } from "./hub-options.ts";

/** What a request is about, for the sentence of its error. */
export type Subject = { readonly id: string; readonly revision?: string; readonly path?: string };

/** What of a response an error is made from. */
export type Refusal = {
  readonly status: number;
  /** `X-Error-Code`, e.g. RepoNotFound. */
  readonly code: string;
  /** `X-Error-Message`, or the first words of the answer. */
  readonly message: string;
};

/** An answer that is no success. */
export class StatusError extends NetworkError {
  readonly status: number;

  constructor(message: string, status: number, hint: string) {
    super(message, { hint });
    this.status = status;
  }
}

/** The sentence for an answer that is no success. */
export function statusError(refusal: Refusal, subject: Subject, options: HubOptions): NetworkError {
  const { status, code } = refusal;
  const repo = quote(subject.id);
  const say = (sentence: string, hint: string): NetworkError =>
    new StatusError(`${sentence} (${status}${code === "" ? "" : ` ${printableCode(code)}`})`, status, hint);
  const withToken = options.token !== undefined;
  const page = `${options.endpoint}/${subject.id}`;
  if (code === "GatedRepo" || (status === 403 && /gated|restricted/i.test(refusal.message))) {
    return withToken
      ? say(`${repo} is gated, and this token has no access to it`, `ask for access on ${page}`)
      : say(
          `${repo} is gated, and no token was given`,
          `ask for access on ${page}, then give --token or HF_TOKEN`,
        );
  }
  if (status === 401) {
    return withToken
      ? say(`${repo} does not exist, or this token is not valid for it`, "check the name and the token")
      : say(
          `${repo} does not exist, or is private and needs a token`,
          "check the name, or give --token or HF_TOKEN",
        );
  }
  if (status === 403) {
    return say(
      `${repo} may not be accessed${told(refusal)}`,
      "the token lacks the permission: choose another one",
    );
  }
  if (status === 404 && code === "RevisionNotFound") {
    return say(
      `${repo} has no revision ${quote(subject.revision ?? "")}`,
      "check --revision, or leave it out for main",
    );
  }
  if (status === 404 && (code === "EntryNotFound" || (code === "" && subject.path !== undefined))) {
    return say(
      `${repo} has no file ${quote(subject.path ?? "")} at ${quote(subject.revision ?? "")}`,
      "check the repository",
    );
  }
  if (status === 404)
    return say(`${repo} does not exist`, "check the name; no local path is called so either");
  if (status === 429) {
    return say(
      `${repo}: the Hub limits the rate of requests`,
      "wait some minutes; with a token the limit is higher",
    );
  }
  return say(`${repo}: the Hub answers with an error${told(refusal)}`, "try again later");
}

/** Header values are a server's to choose. */
function printableCode(code: string): string {
  return /^[A-Za-z]{1,40}$/.test(code) ? code : "unknown code";
}

function told({ message }: Refusal): string {
  return message === "" ? "" : `: ${quote(message)}`;
}
