/** The right of a worker to hold attempts: until when, by which word. Pure. */
import type { PeerRef } from "../schema/index.ts"
import type { JobRequest } from "../wire/index.ts"

export interface Lease {
  readonly term: number
  /** Index of the session's entry; 0 gives no right. */
  readonly lease: number
  readonly leader: PeerRef
  readonly ttlMs: number
  /** Boot-time clock: from when the right counts, and when it ends. */
  readonly renewedAt: number
  readonly expiresAt: number
  /** Boot-time clock: until then its word is taken for who leads. */
  readonly heardUntil: number
}

/**
 * What a leader's word gives. The right counts from an answer of this very process that the leader has heard: it takes a
 * node's session away only when it has heard nothing for some time after that, however late this word comes (in the buffers
 * of a machine that slept, or held up on the way). A leader that has heard nothing yet leaves the right as it was. One of
 * an older build does not say what it heard: then the right counts from now.
 */
export function leaseFrom(
  request: Extract<JobRequest, { type: "lease" }>,
  here: { readonly now: number; readonly boot: string; readonly before: Lease | undefined },
): Lease {
  const { term, lease, leaderPeer: leader, ttlMs, heard } = request
  const { now, boot, before } = here
  const known = before?.lease === lease ? before.renewedAt : Number.NEGATIVE_INFINITY
  const told = heard?.boot === boot ? Math.min(heard.at, now) : Number.NEGATIVE_INFINITY
  const renewedAt = heard ? Math.max(known, told) : now
  const expiresAt = renewedAt + ttlMs
  return { term, lease, leader, ttlMs, renewedAt, expiresAt, heardUntil: now + ttlMs }
}
