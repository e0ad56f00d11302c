/** Who counts: voters (two sets while a change is under way), learners, and the changes between memberships. */
import { type InflightLimits, Inflights, Progress } from "./progress.ts"
import type { JointVoters } from "./quorum.ts"
import type { ConfChange, ConfState, Id } from "./types.ts"

/** `learnersNext`: voters of the outgoing half that become learners when the joint change ends. */
export interface MemberConfig {
  readonly voters: JointVoters
  readonly learners: ReadonlySet<Id>
  readonly learnersNext: ReadonlySet<Id>
  readonly autoLeave: boolean
}

export interface Membership {
  readonly config: MemberConfig
  readonly progress: ReadonlyMap<Id, Progress>
}

/** What a change starts from. A new member is probed from `lastIndex`. */
export interface Changer {
  readonly membership: Membership
  readonly lastIndex: number
  readonly limits: InflightLimits
}

/** The change cannot be made from here. */
export class ConfChangeError extends Error {
  override readonly name = "ConfChangeError"
}

interface Draft {
  readonly incoming: Set<Id>
  readonly outgoing: Set<Id>
  readonly learners: Set<Id>
  readonly learnersNext: Set<Id>
  readonly progress: Map<Id, Progress>
  autoLeave: boolean
}

export const emptyMembership: Membership = {
  config: {
    voters: { incoming: new Set(), outgoing: new Set() },
    learners: new Set(),
    learnersNext: new Set(),
    autoLeave: false,
  },
  progress: new Map(),
}

function ascending(ids: Iterable<Id>): Id[] {
  return [...ids].toSorted((left, right) => left - right)
}

export function isJoint(config: MemberConfig): boolean {
  return config.voters.outgoing.size > 0
}

/** Voters of both halves, ascending. */
export function voterIds(config: MemberConfig): Id[] {
  return ascending(new Set([...config.voters.incoming, ...config.voters.outgoing]))
}

export function confStateOf(config: MemberConfig): ConfState {
  return {
    voters: ascending(config.voters.incoming),
    votersOutgoing: ascending(config.voters.outgoing),
    learners: ascending(config.learners),
    learnersNext: ascending(config.learnersNext),
    autoLeave: config.autoLeave,
  }
}

function draftOf({ config, progress }: Membership): Draft {
  return {
    incoming: new Set(config.voters.incoming),
    outgoing: new Set(config.voters.outgoing),
    learners: new Set(config.learners),
    learnersNext: new Set(config.learnersNext),
    progress: new Map([...progress].map(([id, known]) => [id, known.clone()])),
    autoLeave: config.autoLeave,
  }
}

function finish(draft: Draft): Membership {
  const { incoming, outgoing, learners, learnersNext, autoLeave } = draft
  const progress = new Map(
    ascending(draft.progress.keys()).map((id) => [id, draft.progress.get(id)!]),
  )
  const membership: Membership = {
    config: { voters: { incoming, outgoing }, learners, learnersNext, autoLeave },
    progress,
  }
  checkInvariants(membership)
  return membership
}

function checkInvariants({ config, progress }: Membership): void {
  const { incoming, outgoing } = config.voters
  for (const id of [...incoming, ...outgoing, ...config.learners, ...config.learnersNext]) {
    if (!progress.has(id)) throw new Error(`no progress for ${id}`)
  }
  for (const id of config.learnersNext) {
    if (!outgoing.has(id)) throw new Error(`${id} is in learnersNext, but not in votersOutgoing`)
    if (progress.get(id)!.isLearner)
      throw new Error(`${id} is in learnersNext and already a learner`)
  }
  for (const id of config.learners) {
    if (incoming.has(id) || outgoing.has(id)) throw new Error(`${id} is both voter and learner`)
    if (!progress.get(id)!.isLearner) throw new Error(`${id} is in learners, but not marked so`)
  }
  if (!isJoint(config)) {
    if (config.learnersNext.size > 0) throw new Error("learnersNext outside of a joint change")
    if (config.autoLeave) throw new Error("autoLeave outside of a joint change")
  }
}

function addProgress(draft: Draft, from: Changer, member: { id: Id; isLearner: boolean }): void {
  draft.progress.set(
    member.id,
    new Progress(
      {
        match: 0,
        next: Math.max(from.lastIndex, 1),
        isLearner: member.isLearner,
        // A new member counts as heard from, else the next check of the quorum might depose the leader for it.
        recentActive: true,
      },
      new Inflights(from.limits),
    ),
  )
}

function makeVoter(draft: Draft, from: Changer, id: Id): void {
  const known = draft.progress.get(id)
  if (known) known.isLearner = false
  else addProgress(draft, from, { id, isLearner: false })
  draft.learners.delete(id)
  draft.learnersNext.delete(id)
  draft.incoming.add(id)
}

function makeLearner(draft: Draft, from: Changer, id: Id): void {
  const known = draft.progress.get(id)
  if (!known) {
    addProgress(draft, from, { id, isLearner: true })
    draft.learners.add(id)
    return
  }
  if (known.isLearner) return
  remove(draft, id)
  draft.progress.set(id, known)
  // Still a voter of the outgoing half: it becomes a learner when that half is left.
  if (draft.outgoing.has(id)) {
    draft.learnersNext.add(id)
  } else {
    known.isLearner = true
    draft.learners.add(id)
  }
}

function remove(draft: Draft, id: Id): void {
  draft.incoming.delete(id)
  draft.learners.delete(id)
  draft.learnersNext.delete(id)
  if (!draft.outgoing.has(id)) draft.progress.delete(id)
}

function apply(draft: Draft, from: Changer, changes: ConfChange["changes"]): void {
  for (const { type, id } of changes) {
    // Id 0 marks a change that was refused after it had been proposed.
    if (id === 0) continue
    if (type === "ConfChangeAddNode") makeVoter(draft, from, id)
    else if (type === "ConfChangeAddLearnerNode") makeLearner(draft, from, id)
    else if (type === "ConfChangeRemoveNode") remove(draft, id)
  }
  if (draft.incoming.size === 0) throw new ConfChangeError("removed all voters")
}

function differenceCount(left: ReadonlySet<Id>, right: ReadonlySet<Id>): number {
  const missing = [...left].filter((id) => !right.has(id))
  const added = [...right].filter((id) => !left.has(id))
  return missing.length + added.length
}

/** At most one voter more or less; any number of learners. */
export function simple(from: Changer, changes: ConfChange["changes"]): Membership {
  const before = from.membership.config
  if (isJoint(before)) {
    throw new ConfChangeError("can't apply simple config change in joint config")
  }
  const draft = draftOf(from.membership)
  apply(draft, from, changes)
  if (differenceCount(before.voters.incoming, draft.incoming) > 1) {
    throw new ConfChangeError("more than one voter changed without entering joint config")
  }
  return finish(draft)
}

/** From now on both the old and the new voters must agree, until `leaveJoint` (C-35). */
export function enterJoint(
  from: Changer,
  change: Pick<ConfChange, "changes"> & { autoLeave: boolean },
): Membership {
  const before = from.membership.config
  if (isJoint(before)) throw new ConfChangeError("config is already joint")
  if (before.voters.incoming.size === 0) {
    throw new ConfChangeError("can't make a zero-voter config joint")
  }
  const draft = draftOf(from.membership)
  for (const id of draft.incoming) draft.outgoing.add(id)
  apply(draft, from, change.changes)
  draft.autoLeave = change.autoLeave
  return finish(draft)
}

/** Only the new voters count now. */
export function leaveJoint(from: Changer): Membership {
  if (!isJoint(from.membership.config)) {
    throw new ConfChangeError("can't leave a non-joint config")
  }
  const draft = draftOf(from.membership)
  for (const id of draft.learnersNext) {
    draft.learners.add(id)
    draft.progress.get(id)!.isLearner = true
  }
  draft.learnersNext.clear()
  for (const id of draft.outgoing) {
    if (!draft.incoming.has(id) && !draft.learners.has(id)) draft.progress.delete(id)
  }
  draft.outgoing.clear()
  draft.autoLeave = false
  return finish(draft)
}

/** The membership that a snapshot or the applied state names, with fresh progress for everybody. */
export function restoreConfState(from: Omit<Changer, "membership">, state: ConfState): Membership {
  const draft: Draft = {
    incoming: new Set(state.voters),
    outgoing: new Set(state.votersOutgoing),
    learners: new Set(state.learners),
    learnersNext: new Set(state.learnersNext),
    progress: new Map(),
    autoLeave: state.autoLeave,
  }
  const changer = { ...from, membership: emptyMembership }
  for (const id of [...draft.incoming, ...draft.outgoing, ...draft.learners]) {
    addProgress(draft, changer, { id, isLearner: draft.learners.has(id) })
  }
  return finish(draft)
}

/** The membership after a committed change. An empty automatic change leaves the joint configuration. */
export function changeMembership(from: Changer, change: ConfChange): Membership {
  if (leavesJoint(change)) return leaveJoint(from)
  if (change.transition !== "auto" || change.changes.length > 1) {
    return enterJoint(from, {
      changes: change.changes,
      autoLeave: change.transition !== "explicit",
    })
  }
  return simple(from, change.changes)
}

function leavesJoint(change: ConfChange): boolean {
  return change.transition === "auto" && change.changes.length === 0
}

function idList(ids: Iterable<Id>): string {
  return `(${ascending(ids).join(" ")})`
}

/** As etcd prints it: `voters=(1 2 3)&&(1 2) learners=(4) learners_next=(5) autoleave`. */
export function describeConfig(config: MemberConfig): string {
  let text = `voters=${idList(config.voters.incoming)}`
  if (isJoint(config)) text += `&&${idList(config.voters.outgoing)}`
  if (config.learners.size > 0) text += ` learners=${idList(config.learners)}`
  if (config.learnersNext.size > 0) text += ` learners_next=${idList(config.learnersNext)}`
  if (config.autoLeave) text += " autoleave"
  return text
}
