/** What the planned events do to a world. */
import type { ConfChange, ConfState, Id } from "../../../src/consensus/index.ts"
import { SeededRandom } from "../../support/random.ts"
import type { SimMember } from "./member.ts"
import type { Cut } from "./network.ts"
import type { PlannedEvent } from "./plan.ts"
import type { EventKind } from "./profile.ts"
import type { World } from "./world.ts"

type Action = (world: World, random: SeededRandom) => void

/** That count at the same time, and in all. */
const countedMax = 7
const membersMax = 20
const partitionMsMax = 500
const clogMsMax = 400
const pauseMsMax = 300
const jumpTicksMax = 25
const wakeMs = 50

export function act(world: World, { kind, dice }: PlannedEvent): void {
  actions[kind](world, new SeededRandom(dice))
}

/** The same one whoever else is alive, so that events can be left out; undefined: it is down. */
function anyAlive(world: World, random: SeededRandom): SimMember | undefined {
  const member = world.members.get(random.pick([...world.members.keys()]))
  return member?.isAlive ? member : undefined
}

/** Often the leader: most goes wrong there. */
function target(world: World, random: SeededRandom): SimMember | undefined {
  const any = anyAlive(world, random)
  return random.chance(0.4) ? (world.leader() ?? any) : any
}

function cutFor(world: World, cut: Cut, ms: number): void {
  world.network.cut(cut)
  world.schedule(ms, () => world.network.mend(cut))
}

const actions: Readonly<Record<EventKind, Action>> = {
  crash: (world, random) => target(world, random)?.crash(),
  powerLoss(world) {
    world.note(() => "power loss")
    for (const member of world.alive()) member.crash()
  },
  partition,
  clog(world, random) {
    const ids = [...world.members.keys()]
    const [from, to] = [random.pick(ids), random.pick(ids)]
    const until = world.now + random.below(clogMsMax)
    world.note(() => `${from}->${to} is clogged until ${until.toFixed(0)}`)
    world.network.clog(from, to, until)
  },
  swizzle,
  pause(world, random) {
    const member = target(world, random)
    if (!member) return
    const ms = random.below(pauseMsMax)
    member.pausedUntil = world.now + ms
    world.note(() => `${member.id} pauses until ${member.pausedUntil.toFixed(0)}`)
    if (!world.profile.wakes || ms < wakeMs) return
    world.schedule(ms, () => member.input((raft) => raft.wake()))
  },
  clockJump(world, random) {
    const member = target(world, random)
    const ticks = random.below(jumpTicksMax)
    if (!member || member.pausedUntil > world.now) return
    world.note(() => `the clock of ${member.id} jumps by ${ticks} ticks`)
    for (let ticked = 0; ticked < ticks; ticked++) member.tick()
  },
  retune(world, random) {
    const member = anyAlive(world, random)
    const ticks = random.between(8, 20)
    world.note(() => `${member?.id} waits ${ticks} ticks for a leader`)
    member?.input((raft) => raft.setElectionTicks(ticks))
  },
  flap(world, random) {
    // A connection looks lost although its other end lives.
    const member = anyAlive(world, random)
    if (member && world.profile.hasHints) world.hint(member, member.raft.status().lead)
  },
  transfer(world, random) {
    const leader = world.leader()
    const to = random.pick([...world.members.keys()])
    if (!leader) return
    world.note(() => `${leader.id} is asked to hand over to ${to}`)
    leader.input((raft) => raft.transferLeadership(to))
  },
  reconfigure(world, random) {
    const leader = world.leader()
    const change = leader && nextChange(world, random, leader.raft.status().confState)
    if (change) proposeChange(world, leader, change)
  },
  snapshot: (world, random) => anyAlive(world, random)?.takeSnapshot(),
  burst(world, random) {
    // Old leaders get proposals too.
    const count = random.between(1, 8)
    for (const member of world.alive().filter(({ isLeader }) => isLeader)) {
      for (let proposed = 0; proposed < count; proposed++) world.propose(member, "work")
    }
  },
}

export function proposeChange(world: World, leader: SimMember, change: ConfChange): void {
  const { changes, transition } = change
  const what = changes.map(({ type, id }) => `${type.slice(10)} ${id}`).join(", ")
  world.note(() => `${leader.id} proposes ${transition} ${what}`)
  world.checks.changeProposed(leader.raft.status().term)
  leader.input((raft) => raft.proposeConfChange(change))
}

/** Cuts a random group off: both ways, one way, or all but one member that both sides still reach. */
function partition(world: World, random: SeededRandom): void {
  const ids = [...world.members.keys()]
  const isSingle = random.chance(0.4)
  const single = random.pick(ids)
  const group = new Set(ids.filter((id) => (isSingle ? id === single : random.chance(0.4))))
  const shape = random.pick(["both ways", "both ways", "one way", "with a bridge"])
  const bridge = random.pick(ids)
  const isOutward = random.chance(0.5)
  const cut: Cut = (from, to) => {
    if (group.has(from) === group.has(to)) return false
    if (shape === "one way") return group.has(from) === isOutward
    return shape === "both ways" || (from !== bridge && to !== bridge)
  }
  world.note(() => `partition ${shape} around ${[...group].join(" ")}`)
  cutFor(world, cut, random.below(partitionMsMax))
}

/** Clogs a few members one after the other, and lets them go in another order. */
function swizzle(world: World, random: SeededRandom): void {
  const ids = [...world.members.keys()]
  const chosen = ids.filter(() => random.chance(0.5))
  world.note(() => `swizzle ${chosen.join(" ")}`)
  for (const id of chosen) {
    const begin = random.below(clogMsMax)
    const end = world.now + clogMsMax + random.below(clogMsMax)
    world.schedule(begin, () => {
      for (const other of ids) {
        world.network.clog(id, other, end)
        world.network.clog(other, id, end)
      }
    })
  }
}

const context = new Uint8Array(0)

/** A change that keeps a voter, from what the leader's configuration is. */
function nextChange(world: World, random: SeededRandom, state: ConfState): ConfChange | undefined {
  if (state.votersOutgoing.length > 0) {
    return state.autoLeave ? undefined : { transition: "auto", changes: [], context }
  }
  const { voters, learners } = state
  world.retire()
  const changes: { type: ConfChange["changes"][number]["type"]; id: Id }[] = []
  const count = random.chance(0.3) ? 2 : 1
  // One voter goes at a time, and only of three or more. Otherwise those who remain may need a vote of those who went,
  // whose logs can be longer and who can no longer campaign: nobody would ever lead again (C-35, C-39).
  let mayRemove = voters.length > 2
  for (let made = 0; made < count; made++) {
    const isRoom = voters.length + learners.length < countedMax && world.ids < membersMax
    const isNew = random.chance(0.4) && isRoom
    if (isNew) {
      // Ids are never used again (C-38): whoever was removed comes back as another.
      const id = world.ids + 1
      world.addMember(id)
      changes.push({ type: "ConfChangeAddLearnerNode", id })
    } else if (learners.length > made && random.chance(0.6)) {
      changes.push({ type: "ConfChangeAddNode", id: learners[made]! })
    } else if (learners.length > made && random.chance(0.2)) {
      changes.push({ type: "ConfChangeRemoveNode", id: learners[made]! })
    } else if (mayRemove) {
      mayRemove = false
      const type = random.chance(0.7) ? "ConfChangeAddLearnerNode" : "ConfChangeRemoveNode"
      changes.push({ type, id: random.pick(voters) })
    }
  }
  if (changes.length === 0) return undefined
  return { transition: random.pick(["auto", "implicit", "explicit"]), changes, context }
}
