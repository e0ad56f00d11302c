/** When the faults stop: a bare majority must go on, then everybody must agree, within a bound. */
import type { ConfState, Id } from "../../../src/consensus/index.ts"
import { proposeChange } from "./actions.ts"
import { isQuorum } from "./elections.ts"
import { electionTicks, type SimMember, tickMs } from "./member.ts"
import { streamOf } from "./streams.ts"
import type { World } from "./world.ts"

/** Elections may split a few times, and snapshots have to travel. */
const calmMsMax = 60 * electionTicks * tickMs
/** No message is under way for longer. */
const drainMs = 1200

/** How long it took. */
export function agreeInCalm(world: World): number {
  world.isCalm = true
  world.network.mendAll()
  for (const member of world.members.values()) member.pausedUntil = 0
  sendToSleep(world)
  for (const member of world.members.values()) {
    if (!member.isAlive && !world.asleep.has(member.id)) member.start()
  }
  world.note(() => `calm; ${[...world.asleep].join(" ") || "nobody"} stays down`)
  const begin = world.now
  if (world.asleep.size > 0) {
    const isReached = world.runUntil(calmMsMax, () => !isBareMajority(world) || isAgreed(world))
    world.must(isReached, () => `a majority alone does not agree in ${calmMsMax} ms of calm`)
  }
  wakeAll(world)
  agreeAll(world)
  const took = world.now - begin
  world.runFor(drainMs)
  agreeAll(world)
  return took
}

/** Every member that counts has applied everything, under one leader, with no change half done. */
export function agreeAll(world: World): SimMember {
  const isReached = world.runUntil(calmMsMax, () => isAgreed(world))
  world.must(isReached, () => `no agreement after ${calmMsMax} ms of calm`)
  return world.leader()!
}

export function wakeAll(world: World): void {
  world.asleep.clear()
  for (const member of world.members.values()) {
    if (!member.isAlive) member.start()
  }
}

function configOf(member: SimMember): ConfState {
  return member.isAlive ? member.raft.status().confState : member.state.confState
}

/** As many stay down as can, for everyone's idea of who counts. */
function sendToSleep(world: World): void {
  const random = streamOf(world.seed, "asleep")
  const present = new Set(world.members.keys())
  const wanted = [...present].toSorted(() => random.next() - 0.5)
  const configs = [...world.members.values()].map(configOf)
  for (const id of wanted) {
    present.delete(id)
    if (!configs.every((config) => isQuorum(config, present))) present.add(id)
  }
  for (const [id, member] of world.members) {
    if (present.has(id)) continue
    world.asleep.add(id)
    member.crash()
  }
}

/** False: a change that was under way asks for somebody who is down. */
function isBareMajority(world: World): boolean {
  const present = new Set(world.alive().map(({ id }) => id))
  return world.alive().every((member) => isQuorum(configOf(member), present))
}

const askedAt = new WeakMap<World, number>()

/** A proposal that must get through, and an end to a joint change that nobody else ends. */
function nudge(world: World, leader: SimMember): void {
  if (world.now < (askedAt.get(world) ?? 0)) return
  askedAt.set(world, world.now + electionTicks * tickMs)
  const { confState } = leader.raft.status()
  if (confState.votersOutgoing.length > 0 && !confState.autoLeave) {
    proposeChange(world, leader, {
      transition: "auto",
      changes: [],
      context: new Uint8Array(0),
    })
  }
  world.propose(leader, "calm")
}

function isAgreed(world: World): boolean {
  const leader = world.leader()
  if (!leader) return false
  nudge(world, leader)
  const { commit, lastIndex, confState, term } = leader.raft.status()
  const { voters, learners, votersOutgoing } = confState
  if (commit !== lastIndex || votersOutgoing.length > 0) return false
  if (world.checks.calmTerm !== term) return false
  const present = [...voters, ...learners].filter((id) => !world.asleep.has(id))
  return present.every((id) => follows(world, id, { leader: leader.id, commit }))
}

function follows(world: World, id: Id, at: { leader: Id; commit: number }): boolean {
  const member = world.members.get(id)
  return (
    member?.isAlive === true &&
    member.appliedIndex === at.commit &&
    member.raft.status().lead === at.leader
  )
}
