/** One thing that `troupe node doctor` has looked at. */

export interface Finding {
  /** What was looked at, in a word or two. */
  readonly check: string
  readonly status: "ok" | "warn" | "fail"
  /** What was found. */
  readonly says: string
  /** What to do; of everything that is not ok. */
  readonly remedy?: string
}

/** A finding that is fine. */
export function ok(check: string, says: string): Finding {
  return { check, status: "ok", says }
}

/** Works or will work, but less well than it could. */
export function warn(check: string, says: string, remedy: string): Finding {
  return { check, status: "warn", says, remedy }
}

/** A node cannot work here, or loses something. */
export function fail(check: string, says: string, remedy: string): Finding {
  return { check, status: "fail", says, remedy }
}
