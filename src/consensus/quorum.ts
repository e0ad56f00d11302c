/** Majorities, alone and in pairs: what is committed, and how a vote stands. */
import type { Id } from "./types.ts"

/** Two sets during a joint change; `outgoing` is empty otherwise. */
export interface JointVoters {
  readonly incoming: ReadonlySet<Id>
  readonly outgoing: ReadonlySet<Id>
}

export type VoteResult = "VotePending" | "VoteLost" | "VoteWon"

/** Highest index acknowledged by a majority. Infinity for no voters: then the other half of a pair decides. */
export function majorityCommitted(
  voters: ReadonlySet<Id>,
  acknowledged: (id: Id) => number | undefined,
): number {
  if (voters.size === 0) return Infinity
  const indexes = [...voters].map((id) => acknowledged(id) ?? 0)
  indexes.sort((left, right) => right - left)
  return indexes[Math.floor(voters.size / 2)]!
}

/** Committed in both halves. */
export function jointCommitted(
  voters: JointVoters,
  acknowledged: (id: Id) => number | undefined,
): number {
  return Math.min(
    majorityCommitted(voters.incoming, acknowledged),
    majorityCommitted(voters.outgoing, acknowledged),
  )
}

/** A missing vote is open. No voters: won. */
export function majorityVote(voters: ReadonlySet<Id>, votes: ReadonlyMap<Id, boolean>): VoteResult {
  if (voters.size === 0) return "VoteWon"
  let granted = 0
  let open = 0
  for (const id of voters) {
    const vote = votes.get(id)
    if (vote === undefined) open++
    else if (vote) granted++
  }
  const needed = Math.floor(voters.size / 2) + 1
  if (granted >= needed) return "VoteWon"
  return granted + open >= needed ? "VotePending" : "VoteLost"
}

/** Won when both halves are won, lost when one is lost. */
export function jointVote(voters: JointVoters, votes: ReadonlyMap<Id, boolean>): VoteResult {
  const incoming = majorityVote(voters.incoming, votes)
  const outgoing = majorityVote(voters.outgoing, votes)
  if (incoming === outgoing) return incoming
  if (incoming === "VoteLost" || outgoing === "VoteLost") return "VoteLost"
  return "VotePending"
}
