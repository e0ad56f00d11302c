/** What must be behind every campaign and every leader: votes that were really cast, changes that were really applied. */
import type { ConfState, Entry, Id, RaftStatus } from "../../../src/consensus/index.ts"
import { hold } from "./invariant.ts"

/** What a campaign, and its end, must not overlook (C-34): committed entries that the core was not told to be applied. */
export interface Unapplied {
  entries(): readonly Entry[]
}

export class Elections {
  /** `term/voter/candidate`, as voters have them in memory. */
  readonly #votes = new Set<string>()
  readonly #before = new Map<Id, { readonly term: number; readonly state: string }>()
  readonly #terms = new Set<number>()

  member(status: RaftStatus, unapplied: Unapplied): void {
    const { id, term, vote, raftState } = status
    if (vote !== 0) this.#votes.add(`${term}/${id}/${vote}`)
    const before = this.#before.get(id)
    if (before?.term === term && before.state === raftState) return
    this.#before.set(id, { term, state: raftState })
    this.#checkTerm(status)
    if (raftState === "StateLeader") this.#checkVotes(status)
    if (raftState !== "StateFollower") {
      const change = unapplied.entries().find(({ type }) => type !== "EntryNormal")
      hold(
        change === undefined,
        () =>
          `${id} is ${raftState} over the committed change ${change?.index}, which it has not applied`,
      )
    }
  }

  /** C-04: nobody enters a term that no candidate has begun, and candidates have asked before. */
  #checkTerm({ id, term, raftState }: RaftStatus): void {
    const isBegun = term === 0 || this.#terms.has(term) || raftState === "StateCandidate"
    hold(isBegun, () => `${id} is ${raftState} in term ${term}, which no candidate has begun`)
    this.#terms.add(term)
  }

  /** What was in memory is gone. */
  stopped(id: Id): void {
    this.#before.delete(id)
  }

  /** B-10, B-28: each voter counts once, for this term and this candidate only. */
  #checkVotes({ id, term, confState }: RaftStatus): void {
    const given = (voters: readonly Id[]): number =>
      voters.filter((voter) => this.#votes.has(`${term}/${voter}/${id}`)).length
    hold(
      isMajority(confState.voters, given) && isMajority(confState.votersOutgoing, given),
      () => `${id} leads term ${term} without the votes of a majority`,
    )
  }
}

function isMajority(voters: readonly Id[], count: (voters: readonly Id[]) => number): boolean {
  return voters.length === 0 || count(voters) * 2 > voters.length
}

/** Do these members make up a majority of both halves? */
export function isQuorum(state: ConfState, present: ReadonlySet<Id>): boolean {
  const count = (voters: readonly Id[]): number => voters.filter((id) => present.has(id)).length
  return isMajority(state.voters, count) && isMajority(state.votersOutgoing, count)
}
