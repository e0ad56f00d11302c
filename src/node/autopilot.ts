/** Which member should vote: one step at a time towards DESIGN.md §5.4. Pure: the leader asks it every moment. */
import type { ConfChange } from "../consensus/index.ts"
import type { MemberRole } from "../schema/index.ts"
import type { Command } from "../state/index.ts"
import {
  answers,
  type AutopilotInput,
  countedIn,
  eligible,
  hasSuccessor,
  isLongSilent,
  isRetiring,
  mayVote,
  readyStandbys,
  silentMs,
  tolerance,
} from "./voter-view.ts"

export type { AutopilotInput } from "./voter-view.ts"

export interface VoterChange {
  readonly reason: string
  readonly confChange: Omit<ConfChange, "context">
  readonly command: Command
}

type Ids = ReadonlySet<number>

/** The next step, or undefined when all is as it should be or nothing is safe now. */
export function planVoters(input: AutopilotInput): VoterChange | undefined {
  const { confState } = input.status
  if (confState.votersOutgoing.length > 0) return undefined
  const voters = new Set(confState.voters)
  const learners = new Set(confState.learners)
  const leaving = [...voters, ...learners].find((id) => isRetiring(input, id))
  // Somebody's word goes first, and no other change comes between its steps.
  if (leaving !== undefined) return retire(input, { voters, learners, leaving })
  const next =
    replaceDead(input, voters, learners) ??
    replaceUnwilling(input, voters, learners) ??
    swapStandby(input, voters, learners) ??
    (voters.size < wantedVoters(input) ? grow(input, voters, learners) : undefined) ??
    evenOut(input, voters, learners) ??
    dropLearners(input, voters, learners)
  return next && isWorthIt(input, voters, next) ? next : undefined
}

/** No change by itself may leave fewer losses to survive than there were. */
function isWorthIt(input: AutopilotInput, voters: Ids, next: VoterChange): boolean {
  const after = new Set(voters)
  for (const { type, id } of next.confChange.changes) {
    if (type === "ConfChangeAddNode") after.add(id)
    else after.delete(id)
  }
  return tolerance(input, after) >= tolerance(input, voters)
}

/** DESIGN.md §5.4: 1, 3 from three nodes, 5 from seven; only nodes that answer and may vote count. */
function wantedVoters(input: AutopilotInput): number {
  const candidates = eligible(input, new Set())
  const count = candidates.length + (input.contacts.get(input.self)?.answered ? 0 : 1)
  return count >= 7 ? 5 : 3
}

/** To the next odd number in one joint change, once enough standbys are caught up and have answered for a moment. */
function grow(input: AutopilotInput, voters: Ids, learners: Ids): VoterChange | undefined {
  const missing = voters.size % 2 === 0 ? 1 : 2
  const ready = readyStandbys(input, voters, learners).slice(0, missing)
  if (ready.length === missing) {
    const size = voters.size + missing
    return change(`standbys are caught up: ${size} voters`, { add: ready })
  }
  if (learners.size >= missing) return undefined
  const next = eligible(input, voters)
    .filter((member) => !learners.has(member.id) && !voters.has(member.id))
    .slice(0, missing - learners.size)
  if (next.length === 0) return undefined
  return change("new standbys", { learn: next.map((member) => member.id) })
}

/** An even number that cannot grow: the fourth who is silent goes; of two the follower becomes a standby. */
function evenOut(input: AutopilotInput, voters: Ids, learners: Ids): VoterChange | undefined {
  if (voters.size % 2 === 1 || learners.size > 0) return undefined
  const others = [...voters].filter((id) => id !== input.self)
  if (voters.size === 2) return change("two do not vote", { learn: others })
  const silent = others.find((id) => !answers(input, id))
  return silent === undefined ? undefined : change("four do not vote", { remove: [silent] })
}

/** A voter that is silent for minutes gives its place to a standby; a standby is made first if there is none. */
function replaceDead(input: AutopilotInput, voters: Ids, learners: Ids): VoterChange | undefined {
  if (voters.size < 3 || tolerance(input, voters) < 0) return undefined
  const dead = [...voters].find((id) => id !== input.self && isLongSilent(input, id))
  return dead === undefined
    ? undefined
    : replace(input, { voters, learners, old: dead }, `voter ${dead} is silent`)
}

/** Who was started with `--voter never` votes only until somebody can take its place. The leader hands over first. */
function replaceUnwilling(
  input: AutopilotInput,
  voters: Ids,
  learners: Ids,
): VoterChange | undefined {
  if (voters.size < 3) return undefined
  const unwilling = [...voters].find((id) => id !== input.self && isUnwilling(input, id))
  return unwilling === undefined
    ? undefined
    : replace(input, { voters, learners, old: unwilling }, `voter ${unwilling} is not to vote`)
}

function isUnwilling(input: AutopilotInput, id: number): boolean {
  return input.members.some((member) => member.id === id && member.voter === "never")
}

function replace(
  input: AutopilotInput,
  what: { readonly voters: Ids; readonly learners: Ids; readonly old: number },
  reason: string,
): VoterChange | undefined {
  const { voters, learners, old } = what
  const [standby] = readyStandbys(input, voters, learners)
  if (standby !== undefined) {
    return change(`${reason}: ${standby} takes its place`, { add: [standby], remove: [old] })
  }
  if (learners.size > 0) return undefined
  const next = eligible(input, voters).find((member) => !voters.has(member.id))
  return next && change(`${reason}: a new standby`, { learn: [next.id] })
}

/** A standby that fell silent, or will not vote any more, holds up nobody: another takes its place, if one answers. */
function swapStandby(input: AutopilotInput, voters: Ids, learners: Ids): VoterChange | undefined {
  const idle = [...learners].find(
    (id) => silentMs(input, id) >= input.timing.sessionMs || !mayVote(input, id),
  )
  if (idle === undefined) return undefined
  const next = eligible(input, voters).find(({ id }) => !voters.has(id) && !learners.has(id))
  return (
    next &&
    change(`standby ${idle} is of no use: ${next.id} takes its place`, {
      learn: [next.id],
      remove: [idle],
    })
  )
}

/** With three voters no standby is needed beside them, unless it is about to replace somebody. */
function dropLearners(input: AutopilotInput, voters: Ids, learners: Ids): VoterChange | undefined {
  if (voters.size < 3) return undefined
  const dead = [...learners].find((id) => isLongSilent(input, id))
  if (dead === undefined) return undefined
  return change(`standby ${dead} is silent`, { remove: [dead] })
}

/** A member that somebody takes out: a standby takes its place, made first if need be; after a while, or where nobody can,
 *  the voters become fewer, and odd. */
function retire(
  input: AutopilotInput,
  what: { readonly voters: Ids; readonly learners: Ids; readonly leaving: number },
): VoterChange | undefined {
  const { voters, learners, leaving } = what
  if (leaving === input.self) return undefined
  const reason = `${leaving} is taken out`
  if (learners.has(leaving)) return change(reason, { remove: [leaving] })
  const [standby] = readyStandbys(input, voters, learners)
  if (standby !== undefined) return change(reason, { add: [standby], remove: [leaving] })
  if (input.now < (input.retiring?.get(leaving) ?? 0)) {
    const next = eligible(input, voters).find(({ id }) => !voters.has(id))
    if (next) return learners.has(next.id) ? undefined : change(reason, { learn: [next.id] })
  }
  const left = [...voters].filter((id) => id !== leaving)
  if (left.length % 2 === 1) return change(reason, { remove: [leaving] })
  // One more than the one who leaves stops voting: who answers least.
  const others = left.filter((id) => id !== input.self)
  const demoted = others.toSorted((a, b) => silentMs(input, b) - silentMs(input, a) || b - a)[0]
  return change(reason, { remove: [leaving], learn: demoted === undefined ? [] : [demoted] })
}

function change(
  reason: string,
  how: {
    readonly add?: readonly number[]
    readonly learn?: readonly number[]
    readonly remove?: readonly number[]
  },
): VoterChange {
  const { add = [], learn = [], remove = [] } = how
  const changes: ConfChange["changes"] = [
    ...add.map((id) => ({ type: "ConfChangeAddNode" as const, id })),
    ...learn.map((id) => ({ type: "ConfChangeAddLearnerNode" as const, id })),
    ...remove.map((id) => ({ type: "ConfChangeRemoveNode" as const, id })),
  ]
  const items = [...add.map(as("voter")), ...learn.map(as("standby")), ...remove.map(as("worker"))]
  return { reason, confChange: { transition: "auto", changes }, command: { type: "role", items } }
}

function as(role: MemberRole): (id: number) => { readonly id: number; readonly role: MemberRole } {
  return (id) => ({ id, role })
}

/** The voter that should lead instead of this one, which was started with `--voter never`, is drained or has no room. */
export function planHandover(input: AutopilotInput): number | undefined {
  const { confState, progress } = input.status
  const isBusy = (id: number): boolean => isUnwilling(input, id) || input.loaded?.has(id) === true
  if (!isBusy(input.self) || confState.voters.length < 3) return undefined
  const able = progress.filter(
    ({ id }) =>
      confState.voters.includes(id) && mayVote(input, id) && answers(input, id) && !isBusy(id),
  )
  return able.filter(({ id }) => id !== input.self).toSorted((a, b) => b.match - a.match)[0]?.id
}

/** Workers that were wiped and have come back as another member. */
export function findGhosts(input: AutopilotInput): readonly number[] {
  const counted = countedIn(input.status.confState)
  return input.members
    .filter((member) => member.role === "worker" && !counted.has(member.id))
    .filter((member) => input.contacts.get(member.id)?.answered === false)
    .filter((member) => hasSuccessor(input, member))
    .map((member) => member.id)
}
