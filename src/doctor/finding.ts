/** ok: works. warn: nestedfp works without. fail: nestedfp does not work here. */
export type FindingStatus = "ok" | "warn" | "fail";

/** What one look at the machine gave. */
export type Finding = {
  readonly name: string;
  readonly status: FindingStatus;
  readonly detail: string;
  /** The command or the step that mends it. */
  readonly mend?: string;
};
