import { NestedFpError } from "../errors.ts";

/** The user or the system asked the run to end. */
class InterruptError extends NestedFpError {
  override readonly exitCode: number;

  constructor(signal: "SIGINT" | "SIGTERM", hint: string | undefined) {
    super(`interrupted by ${signal}`, { hint });
    this.exitCode = signal === "SIGINT" ? 130 : 143;
  }
}

/**
 * Turns the first SIGINT or SIGTERM into an abort, so that temporary files are removed; a second one kills as
 * usual.
 *
 * @param hint how what was interrupted goes on, where it can
 */
export function interruptSignal(hint?: string): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const release = (): void => {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  };
  const stop = (signal: NodeJS.Signals): void => {
    release();
    controller.abort(new InterruptError(signal === "SIGINT" ? "SIGINT" : "SIGTERM", hint));
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  return { signal: controller.signal, release };
}
