/** What the autopilot knows of members: who answers, who may vote, who is caught up, what a change would be worth. Pure. */
import type { ConfState, RaftStatus } from "../consensus/index.ts"
import { type Member, understands, versionsOf } from "../schema/index.ts"
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
  /** Members that somebody takes out, and until when (boot-time clock) a standby may take their place. */
  readonly retiring?: ReadonlyMap<number, number>
  /** Members that should not lead: they are drained, or their disk is full. */
  readonly loaded?: ReadonlySet<number>
  /** Of entries and rows: who does not understand it holds no copy of them. */
  readonly version?: number
}

/** Standbys may lag by this many entries and still count as caught up. */
const lagMax = 100

export function isRetiring(input: AutopilotInput, id: number): boolean {
  return input.retiring?.has(id) === true
}

export function answers(input: AutopilotInput, id: number): boolean {
  return id === input.self || input.contacts.get(id)?.answered === true
}

/** It may have been started anew with `--voter never` or as an older troupe, or be on its way out. */
export function mayVote(input: AutopilotInput, id: number): boolean {
  const member = input.members.find((one) => one.id === id)
  if (member === undefined || isRetiring(input, id)) return false
  return member.voter === "auto" && understands(versionsOf(member), input.version ?? 1)
}

/** Members that answer and may vote, those first whose like is rarest among `voters`, then the longest-standing. */
export function eligible(input: AutopilotInput, voters: ReadonlySet<number>): readonly Member[] {
  const able = input.members.filter(
    ({ id }) => mayVote(input, id) && input.contacts.get(id)?.answered,
  )
  return spread(input, able, voters)
}

/** One after the other, each from where the fewest of those before it and of `voters` are. */
function spread(
  input: AutopilotInput,
  members: readonly Member[],
  voters: ReadonlySet<number>,
): readonly Member[] {
  const taken = new Map<string, number>()
  const take = (member: Member): void => {
    const domain = domainOf(member)
    taken.set(domain, (taken.get(domain) ?? 0) + 1)
  }
  for (const member of input.members) if (voters.has(member.id)) take(member)
  const left = members.toSorted((a, b) => a.id - b.id)
  const chosen: Member[] = []
  while (left.length > 0) {
    const counts = left.map((member) => taken.get(domainOf(member)) ?? 0)
    const [next] = left.splice(counts.indexOf(Math.min(...counts)), 1)
    chosen.push(next!)
    if (!voters.has(next!.id)) take(next!)
  }
  return chosen
}

/** What fails together: a zone or rack where labels name one, else a host. */
function domainOf(member: Member): string {
  const { zone, rack } = member.labels
  if (zone !== undefined) return `zone ${zone}`
  if (rack !== undefined) return `rack ${rack}`
  const [address = `member ${member.id}`] = member.addresses
  return address.split("/").slice(0, 3).join("/")
}

/** It may vote, holds what is committed, and has answered for a while. */
function isReady(input: AutopilotInput, id: number): boolean {
  return mayVote(input, id) && isSteady(input, id) && isCaughtUp(input, id)
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

/** Standbys that could vote now, best spread first. */
export function readyStandbys(
  input: AutopilotInput,
  voters: ReadonlySet<number>,
  learners: ReadonlySet<number>,
): readonly number[] {
  const ready = input.members.filter(({ id }) => learners.has(id) && isReady(input, id))
  return spread(input, ready, voters).map(({ id }) => id)
}

export function isLongSilent(input: AutopilotInput, id: number): boolean {
  const isDead = input.members.some((member) => member.id === id && member.dead !== undefined)
  if (isDead && !answers(input, id)) return true
  return silentMs(input, id) >= replaceAfterMs(input, id)
}

/** 0 for who answers, and for whom nobody has asked yet. */
export function silentMs(input: AutopilotInput, id: number): number {
  const contact = input.contacts.get(id)
  return !contact || contact.answered ? 0 : input.now - contact.heardAt
}

function replaceAfterMs(input: AutopilotInput, id: number): number {
  const old = input.members.find((member) => member.id === id)
  return old && hasSuccessor(input, old) ? input.timing.sessionMs : input.timing.replaceVoterMs
}

/** A member whose name and address now answer as a newer member was wiped: it never comes back. */
export function hasSuccessor(input: AutopilotInput, old: Member): boolean {
  return input.members.some(
    (member) =>
      member.id > old.id &&
      member.name === old.name &&
      input.contacts.get(member.id)?.answered &&
      member.addresses.some((address) => old.addresses.includes(address)),
  )
}

/** How many of these voters may fall silent now before they decide nothing more; negative: they do not decide now. */
export function tolerance(input: AutopilotInput, voters: Iterable<number>): number {
  const all = [...voters]
  const quorum = Math.floor(all.length / 2) + 1
  return all.filter((id) => answers(input, id)).length - quorum
}

/** Whom the configuration counts, joint or not. */
export function countedIn(confState: ConfState): ReadonlySet<number> {
  const { voters, learners, votersOutgoing, learnersNext } = confState
  return new Set([...voters, ...learners, ...votersOutgoing, ...learnersNext])
}
