/**
 * The closed set of errors that nestedfp raises on purpose. Each message is one sentence with the offending
 * name and both values; `hint` says what to do. `exitCode` is the contract of the command line
 * (ARCHITECTURE.md): only cli/ turns it into an exit.
 */
export type ErrorDetails = { readonly hint?: string | undefined; readonly cause?: unknown };

export class NestedFpError extends Error {
  readonly exitCode: number = 70;
  readonly hint: string | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.hint = details.hint;
  }
}

/** A check that the user asked for failed: verify mismatch, gate, regression. */
export class CheckError extends NestedFpError {
  override readonly exitCode = 1;
}

/** The command was called wrongly, or its target is in the way: exists, locked, made from another source. */
export class UsageError extends NestedFpError {
  override readonly exitCode = 2;
}

/** This machine cannot: no addon, no GPU, no permission, no space or a read-only file system on output. */
export class MachineError extends NestedFpError {
  override readonly exitCode = 3;
}

/** Input that is missing, corrupt or not supported. */
export class FormatError extends NestedFpError {
  override readonly exitCode = 4;
}

/** The network, the Hub or its permissions: unreachable, refused, not found there, or not what was asked for. */
export class NetworkError extends NestedFpError {
  override readonly exitCode = 5;
}
