/** What one replica counts of itself, for /metrics (C-50). */
import { DurationCounts, RecentDurations } from "../lib/index.ts"
import type { RaftState } from "../consensus/index.ts"

/** Upper bounds of the histogram of appends, ms. */
const appendBoundsMs = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000, 2000, 4000]

export class Tally {
  /** From the moment that a batch is handed to the log until it is durable. */
  readonly appends = new DurationCounts(appendBoundsMs)
  readonly recentAppends = new RecentDurations({ windowMs: 30_000, steps: 6 })
  /** Accepted by this leader, and refused by it. */
  proposals = 0
  proposalsRefused = 0
  /** Candidacies of this node: pre-votes, and elections after a won pre-vote. */
  preVotes = 0
  elections = 0
  termChanges = 0
  snapshotsSent = 0
  snapshotsFailed = 0
  snapshotsReceived = 0
  diskStalls = 0
  #state: RaftState = "StateFollower"
  #term: number | undefined

  appended(now: number, ms: number): void {
    this.appends.record(ms)
    this.recentAppends.record(now, ms)
  }

  shipped(ok: boolean): void {
    if (ok) this.snapshotsSent++
    else this.snapshotsFailed++
  }

  note({ raftState, term }: { readonly raftState: RaftState; readonly term: number }): void {
    if (this.#term !== undefined && term !== this.#term) this.termChanges++
    const moved = raftState !== this.#state || term !== this.#term
    if (moved && raftState === "StatePreCandidate") this.preVotes++
    // A quick win is over before anybody looks.
    if (
      moved &&
      (raftState === "StateCandidate" ||
        (raftState === "StateLeader" && this.#state !== "StateCandidate"))
    ) {
      this.elections++
    }
    this.#term = term
    this.#state = raftState
  }
}
