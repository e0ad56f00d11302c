/** How long a node waits for what. Counted in ms unless the name says ticks. */

export interface Timing {
  readonly tickMs: number
  readonly heartbeatTicks: number
  /** Elections start after this to twice this without a leader. */
  readonly electionTicks: number
  /** A node that finds nobody forms a cluster of its own after this. */
  readonly formMs: number
  /** The same where `--join` names somebody. */
  readonly formWithSeedsMs: number
  readonly helloMs: number
  readonly leaseRenewMs: number
  readonly leaseMs: number
  /** A node unheard for this long has lost its session. */
  readonly sessionMs: number
  readonly autopilotMs: number
  /** Standbys become voters after answering for this long. */
  readonly stableMs: number
  /** A silent voter is replaced after this, if somebody can take its place. */
  readonly replaceVoterMs: number
  /** How long a request waits for a leader, and a submit for its copies. */
  readonly holdMs: number
  readonly gossipMs: number
  readonly requestMs: number
  /** How often a leader looks for what has expired. */
  readonly retainMs: number
  /** How often a leader compares its voters' tables, if anything was applied since. */
  readonly checkpointMs: number
}

/** Everything in step with the three numbers that the configuration names. */
export function timingFrom(base: {
  readonly tickMs: number
  readonly heartbeatMs: number
  readonly electionMinMs: number
}): Timing {
  const { tickMs, heartbeatMs, electionMinMs } = base
  // 1 on a LAN: what waits for answers waits longer where heartbeats are slower.
  const pace = Math.max(1, heartbeatMs / 100)
  return {
    tickMs,
    heartbeatTicks: Math.max(1, Math.round(heartbeatMs / tickMs)),
    electionTicks: Math.max(2, Math.round(electionMinMs / tickMs)),
    formMs: 700 * pace,
    formWithSeedsMs: 3000 * pace,
    helloMs: 1000,
    leaseRenewMs: 1000,
    leaseMs: 6000 * pace,
    sessionMs: 5000 * pace,
    autopilotMs: 250,
    stableMs: 1000,
    replaceVoterMs: 300_000,
    holdMs: 2000,
    gossipMs: 2000,
    requestMs: 5000 * pace,
    retainMs: 60_000,
    checkpointMs: 60_000,
  }
}
