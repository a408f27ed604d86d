/** The steps of a run, as shown to the user. */
export type Phase = "fetch" | "scan" | "split" | "verify" | "hash" | "rebuild" | "copy" | "upload";

/** What a run says while it works; only cli/ and ui/ draw it. */
export type RunEvent =
  /** Bytes that the whole run will pass through its steps. May be announced again when more is known. */
  | { readonly type: "total"; readonly bytes: number }
  /** A worker begins a step on a file of `bytes`. */
  | { readonly type: "begin"; readonly phase: Phase; readonly file: string; readonly bytes: number }
  | { readonly type: "bytes"; readonly phase: Phase; readonly file: string; readonly bytes: number }
  | { readonly type: "end"; readonly phase: Phase; readonly file: string }
  | { readonly type: "warning"; readonly message: string };

export type Listener = (event: RunEvent) => void;

/**
 * Wraps a step on one file in its `begin` and `end` events.
 *
 * @param bytes that the step will report through `onBytes`
 */
export async function step<R>(
  listener: Listener,
  phase: Phase,
  file: string,
  bytes: number,
  work: (onBytes: (bytes: number) => void) => Promise<R>,
): Promise<R> {
  listener({ type: "begin", phase, file, bytes });
  const result = await work((done) => listener({ type: "bytes", phase, file, bytes: done }));
  listener({ type: "end", phase, file });
  return result;
}
