/** What clients, operators and misfortune do to a world. */
import type { ConfChange, ConfState, Id } from "../../../src/consensus/index.ts"
import type { SimMember } from "./member.ts"
import type { ActionName } from "./profile.ts"
import type { World } from "./world.ts"

type Action = (world: World) => void

const membersMax = 9
const downMsMax = 400
const partitionMsMax = 500
const pauseMsMax = 300

/** Every action comes again and again until the world is calm. */
export function startActions(world: World): void {
  for (const [name, act] of Object.entries(actions)) {
    const mean = world.profile.every[name as ActionName]
    if (mean > 0) repeat(world, mean, act)
  }
}

function repeat(world: World, mean: number, act: Action): void {
  world.schedule(world.random.next() * 2 * mean, () => {
    if (world.isCalm) return
    act(world)
    repeat(world, mean, act)
  })
}

function anyAlive(world: World): SimMember | undefined {
  const alive = world.alive()
  return alive.length > 0 ? world.random.pick(alive) : undefined
}

function crash(world: World, member: SimMember): void {
  member.crash()
  world.schedule(world.random.below(downMsMax), () => {
    if (!member.isAlive) member.start()
  })
}

const actions: Readonly<Record<ActionName, Action>> = {
  propose(world) {
    // Old leaders get proposals too.
    const leaders = world.alive().filter(({ raft }) => raft.status().raftState === "StateLeader")
    for (const member of leaders) world.propose(member, "work")
  },
  read: (world) => anyAlive(world)?.read(world.highestApplied),
  crash(world) {
    const member = anyAlive(world)
    if (member) crash(world, member)
  },
  powerLoss(world) {
    world.note("power loss")
    for (const member of world.alive()) crash(world, member)
  },
  partition,
  pause(world) {
    const member = anyAlive(world)
    if (!member) return
    member.pausedUntil = world.now + world.random.below(pauseMsMax)
    world.note(`${member.id} pauses until ${member.pausedUntil}`)
  },
  transfer(world) {
    const leader = world.leader()
    if (!leader) return
    const to = world.random.pick([...world.members.keys()])
    world.note(`${leader.id} is asked to hand over to ${to}`)
    leader.input((raft) => raft.transferLeadership(to))
  },
  reconfigure(world) {
    const leader = world.leader()
    if (!leader) return
    const change = nextChange(world, leader.raft.status().confState)
    if (!change) return
    world.note(
      `${leader.id} proposes ${change.transition} ${change.changes.map(({ type, id }) => `${type.slice(10)} ${id}`).join(", ")}`,
    )
    leader.input((raft) => raft.proposeConfChange(change))
  },
  snapshot: (world) => anyAlive(world)?.takeSnapshot(),
}

/** Cuts a random group off: both ways, or only one. */
function partition(world: World): void {
  const { random } = world
  const ids = [...world.members.keys()]
  const group = new Set(ids.filter(() => random.chance(0.4)))
  const isOneWay = random.chance(0.3)
  for (const from of ids) {
    for (const to of ids) {
      const crosses = group.has(from) !== group.has(to)
      if (crosses && (!isOneWay || group.has(from))) world.block(from, to)
    }
  }
  world.note(`${isOneWay ? "one-way " : ""}partition around ${[...group].join(" ")}`)
  world.schedule(random.below(partitionMsMax), () => world.heal())
}

const context = new Uint8Array(0)

/** A change that keeps a voter, from what the leader's configuration is. */
function nextChange(world: World, state: ConfState): ConfChange | undefined {
  const { random } = world
  if (state.votersOutgoing.length > 0) {
    return state.autoLeave ? undefined : { transition: "auto", changes: [], context }
  }
  const { voters, learners } = state
  const changes: { type: ConfChange["changes"][number]["type"]; id: Id }[] = []
  const count = random.chance(0.3) ? 2 : 1
  // One voter goes at a time, and only of three or more. Otherwise those who remain may need a vote of those who went,
  // whose logs can be longer and who can no longer campaign: nobody would ever lead again (C-35, C-39).
  let mayRemove = voters.length > 2
  for (let made = 0; made < count; made++) {
    const isNew = random.chance(0.4) && world.members.size < membersMax
    if (isNew) {
      // Ids are never used again (C-38).
      const id = Math.max(...world.members.keys()) + 1
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
