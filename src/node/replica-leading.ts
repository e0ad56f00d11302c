/** Who leads as this replica sees it, and its own leadership from the first applied entry to the end. */
import type { RaftStatus } from "../consensus/index.ts"
import { TroupeError } from "../schema/index.ts"
import type { ReplicaEvents } from "./replica-options.ts"

export interface LeadingInput {
  readonly events: Pick<ReplicaEvents, "leading" | "leaderChanged">
  /** Everything that waited for this leadership is told that its outcome is unknown. */
  lost(error: Error): void
}

/** The voter that has most, of those that answer this leader; undefined: there is none, or this is no leader. */
export function successorOf(status: RaftStatus): number | undefined {
  const { id, progress, confState } = status
  const [best] = progress
    .filter((peer) => peer.id !== id && confState.voters.includes(peer.id) && peer.recentActive)
    .toSorted((a, b) => b.match - a.match)
  return best?.id
}

export class Leading {
  readonly #input: LeadingInput
  #leader = 0
  #term = 0
  /** First index that this leadership proposed: once applied, it leads in earnest. */
  #barrier = 0
  #own: AbortController | undefined

  constructor(input: LeadingInput) {
    this.#input = input
  }

  get leader(): number {
    return this.#leader
  }

  get term(): number {
    return this.#term
  }

  get isOwn(): boolean {
    return this.#own !== undefined
  }

  note({ lead, term, raftState, lastIndex }: RaftStatus): void {
    const changed = lead !== this.#leader || term !== this.#term
    if (term !== this.#term || raftState !== "StateLeader") this.end()
    if (raftState === "StateLeader" && (this.#term !== term || this.#barrier === 0)) {
      this.#barrier = lastIndex
    }
    if (raftState !== "StateLeader") this.#barrier = 0
    this.#leader = lead
    this.#term = term
    if (changed) this.#input.events.leaderChanged(lead, term)
  }

  /** Says that this replica leads, once its first entry is among the applied ones. */
  begin(applied: number): void {
    if (this.#own || this.#barrier === 0 || applied < this.#barrier) return
    this.#own = new AbortController()
    this.#input.events.leading(this.#term, this.#own.signal)
  }

  end(): void {
    this.#barrier = 0
    const error = new TroupeError(
      "ERR_UNKNOWN_OUTCOME",
      "the leader changed while this was under way; ask again with the same key",
      { hint: "retry with the same Idempotency-Key" },
    )
    this.#input.lost(error)
    this.#own?.abort(error)
    this.#own = undefined
  }
}
