/** Which member should vote: one step at a time towards DESIGN.md §5.4. Pure: the leader asks it every moment. */
import type { ConfChange, RaftStatus } from "../consensus/index.ts"
import type { Member, MemberRole } from "../schema/index.ts"
import type { Command } from "../state/index.ts"
import type { Timing } from "./timing.ts"

export interface AutopilotInput {
  /** Boot-time clock, ms. */
  readonly now: number
  readonly self: number
  readonly timing: Timing
  readonly members: readonly Member[]
  readonly contacts: ReadonlyMap<
    number,
    { readonly answered: boolean; readonly steadySince: number; readonly heardAt: number }
  >
  readonly status: RaftStatus
}

export interface VoterChange {
  readonly reason: string
  readonly confChange: Omit<ConfChange, "context">
  readonly command: Command
}

/** Standbys may lag by this many entries and still count as caught up. */
const lagMax = 100

/** The next step, or undefined when all is as it should be or nothing is safe now. */
export function planVoters(input: AutopilotInput): VoterChange | undefined {
  const { confState } = input.status
  if (confState.votersOutgoing.length > 0) return undefined
  const voters = new Set(confState.voters)
  const learners = new Set(confState.learners)
  return (
    replaceDead(input, voters, learners) ??
    swapStandby(input, voters, learners) ??
    (voters.size < wantedVoters(input) ? grow(input, voters, learners) : undefined) ??
    dropLearners(input, voters, learners)
  )
}

/** DESIGN.md §5.4: 1, 3 from three nodes, 5 from seven; only nodes that answer and may vote count. */
function wantedVoters(input: AutopilotInput): number {
  const candidates = eligible(input).length + (input.contacts.get(input.self)?.answered ? 0 : 1)
  return candidates >= 7 ? 5 : 3
}

/** 1 → 3 and 3 → 5 in one joint change, once two standbys are caught up and have answered for a moment. */
function grow(
  input: AutopilotInput,
  voters: ReadonlySet<number>,
  learners: ReadonlySet<number>,
): VoterChange | undefined {
  const ready = [...learners].filter((id) => isReady(input, id))
  if (ready.length >= 2) {
    const chosen = ready.toSorted((a, b) => a - b).slice(0, 2)
    return change(`two standbys are caught up: ${voters.size + 2} voters`, {
      add: chosen,
      role: "voter",
    })
  }
  if (learners.size >= 2) return undefined
  const next = eligible(input)
    .filter((member) => !learners.has(member.id) && !voters.has(member.id))
    .slice(0, 2 - learners.size)
  if (next.length === 0) return undefined
  return change("new standbys", { learn: next.map((member) => member.id), role: "standby" })
}

/** A voter that is silent for minutes gives its place to a standby; a standby is made first if there is none. */
function replaceDead(
  input: AutopilotInput,
  voters: ReadonlySet<number>,
  learners: ReadonlySet<number>,
): VoterChange | undefined {
  if (voters.size < 3) return undefined
  const dead = [...voters].find((id) => id !== input.self && isLongSilent(input, id))
  if (dead === undefined) return undefined
  const alive = [...voters].filter((id) => id === input.self || input.contacts.get(id)?.answered)
  if (alive.length <= voters.size / 2) return undefined
  const standby = [...learners].find((id) => isReady(input, id))
  if (standby !== undefined) {
    return change(`voter ${dead} is silent: ${standby} takes its place`, {
      add: [standby],
      remove: [dead],
      role: "voter",
    })
  }
  if (learners.size > 0) return undefined
  const next = eligible(input).find((member) => !voters.has(member.id))
  return (
    next && change(`voter ${dead} is silent: a new standby`, { learn: [next.id], role: "standby" })
  )
}

/** A standby that fell silent, or will not vote any more, holds up nobody: another takes its place, if one answers. */
function swapStandby(
  input: AutopilotInput,
  voters: ReadonlySet<number>,
  learners: ReadonlySet<number>,
): VoterChange | undefined {
  const idle = [...learners].find(
    (id) => silentMs(input, id) >= input.timing.sessionMs || !mayVote(input, id),
  )
  if (idle === undefined) return undefined
  const next = eligible(input).find(({ id }) => !voters.has(id) && !learners.has(id))
  return (
    next &&
    change(`standby ${idle} is of no use: ${next.id} takes its place`, {
      learn: [next.id],
      remove: [idle],
      role: "standby",
    })
  )
}

/** With three voters no standby is needed beside them, unless it is about to replace somebody. */
function dropLearners(
  input: AutopilotInput,
  voters: ReadonlySet<number>,
  learners: ReadonlySet<number>,
): VoterChange | undefined {
  if (voters.size < 3) return undefined
  const dead = [...learners].find((id) => isLongSilent(input, id))
  if (dead === undefined) return undefined
  return change(`standby ${dead} is silent`, { remove: [dead], role: "worker" })
}

function change(
  reason: string,
  how: {
    readonly add?: readonly number[]
    readonly learn?: readonly number[]
    readonly remove?: readonly number[]
    readonly role: MemberRole
  },
): VoterChange {
  const { add = [], learn = [], remove = [], role } = how
  const changes: ConfChange["changes"] = [
    ...add.map((id) => ({ type: "ConfChangeAddNode" as const, id })),
    ...learn.map((id) => ({ type: "ConfChangeAddLearnerNode" as const, id })),
    ...remove.map((id) => ({ type: "ConfChangeRemoveNode" as const, id })),
  ]
  const items = [
    ...[...add, ...learn].map((id) => ({ id, role })),
    ...remove.map((id) => ({ id, role: "worker" as const })),
  ]
  return { reason, confChange: { transition: "auto", changes }, command: { type: "role", items } }
}

/** Connected members that may vote, the longest-standing first. */
function eligible(input: AutopilotInput): readonly Member[] {
  return input.members
    .filter((member) => member.voter === "auto" && input.contacts.get(member.id)?.answered)
    .toSorted((a, b) => a.id - b.id)
}

function isReady(input: AutopilotInput, id: number): boolean {
  return mayVote(input, id) && isSteady(input, id) && isCaughtUp(input, id)
}

/** It may have been started anew with `--voter never`. */
function mayVote(input: AutopilotInput, id: number): boolean {
  return input.members.some((member) => member.id === id && member.voter === "auto")
}

function isSteady(input: AutopilotInput, id: number): boolean {
  const contact = input.contacts.get(id)
  return (
    contact !== undefined &&
    contact.answered &&
    input.now - contact.steadySince >= input.timing.stableMs
  )
}

function isCaughtUp(input: AutopilotInput, id: number): boolean {
  const progress = input.status.progress.find((peer) => peer.id === id)
  return progress !== undefined && progress.match + lagMax >= input.status.commit
}

function isLongSilent(input: AutopilotInput, id: number): boolean {
  return silentMs(input, id) >= replaceAfterMs(input, id)
}

/** 0 for who answers, and for whom nobody has asked yet. */
function silentMs(input: AutopilotInput, id: number): number {
  const contact = input.contacts.get(id)
  return !contact || contact.answered ? 0 : input.now - contact.heardAt
}

function replaceAfterMs(input: AutopilotInput, id: number): number {
  const old = input.members.find((member) => member.id === id)
  return old && hasSuccessor(input, old) ? input.timing.sessionMs : input.timing.replaceVoterMs
}

/** A member whose name and address now answer as a newer member was wiped: it never comes back. */
function hasSuccessor(input: AutopilotInput, old: Member): boolean {
  return input.members.some(
    (member) =>
      member.id > old.id &&
      member.name === old.name &&
      input.contacts.get(member.id)?.answered &&
      member.addresses.some((address) => old.addresses.includes(address)),
  )
}

/** Workers that were wiped and have come back as another member. */
export function findGhosts(input: AutopilotInput): readonly number[] {
  const { voters, learners, votersOutgoing } = input.status.confState
  const counted = new Set([...voters, ...learners, ...votersOutgoing])
  return input.members
    .filter((member) => member.role === "worker" && !counted.has(member.id))
    .filter((member) => input.contacts.get(member.id)?.answered === false)
    .filter((member) => hasSuccessor(input, member))
    .map((member) => member.id)
}
