/** One run: a rough phase, then calm, in which everything must come to agree. */
import { startActions } from "./actions.ts"
import { InvariantError } from "./checks.ts"
import { electionTicks, type SimMember, tickMs } from "./member.ts"
import { World, type WorldOptions } from "./world.ts"

export interface RunOptions extends WorldOptions {
  /** Events of the rough phase. */
  readonly steps: number
}

export interface RunResult {
  readonly seed: number
  /** What broke, with the last steps before it. */
  readonly failure: string | undefined
  readonly steps: number
  readonly leaders: number
  readonly commit: number
  readonly acknowledged: number
  /** How long the calm world took to agree. */
  readonly calmMs: number
}

/** In calm: elections may split a few times, and snapshots have to travel. */
const calmMsMax = 60 * electionTicks * tickMs

export function runSimulation(options: RunOptions): RunResult {
  const world = new World(options)
  let failure: string | undefined
  let calmMs = 0
  try {
    startActions(world)
    while (world.steps < options.steps) world.step()
    calmMs = agree(world)
  } catch (error) {
    // Every throw of the core is a broken assertion of ours, so it is a finding too.
    const reason = error instanceof InvariantError ? error.message : (error as Error).stack
    const lines = world.lastNotes.map((note) => `    ${note}`)
    failure = `seed ${options.seed}, step ${world.steps}: ${reason}\n${lines.join("\n")}`
  }
  return {
    seed: options.seed,
    failure,
    steps: world.steps,
    leaders: world.checks.leadersSeen,
    commit: world.checks.highestCommit,
    acknowledged: world.checks.acknowledged.size,
    calmMs,
  }
}

function agree(world: World): number {
  world.isCalm = true
  world.heal()
  world.note("calm")
  for (const member of world.members.values()) {
    member.pausedUntil = 0
    if (!member.isAlive) member.start()
  }
  const begin = world.now
  let asked = 0
  while (world.now < begin + calmMsMax) {
    world.step()
    const leader = world.leader()
    if (!leader) continue
    if (world.now > asked) {
      asked = world.now + electionTicks * tickMs
      nudge(world, leader)
    }
    if (isAgreed(world, leader)) {
      world.checks.durable(leader.appliedIndex)
      return world.now - begin
    }
  }
  throw new InvariantError(`no agreement after ${calmMsMax} ms of calm: ${describe(world)}`)
}

/** A proposal that must get through, and an end to a joint change that nobody else ends. */
function nudge(world: World, leader: SimMember): void {
  const { confState } = leader.raft.status()
  const leave = { transition: "auto", changes: [], context: new Uint8Array(0) } as const
  if (confState.votersOutgoing.length > 0 && !confState.autoLeave) {
    leader.input((raft) => raft.proposeConfChange(leave))
  }
  world.propose(leader, "calm")
}

function isAgreed(world: World, leader: SimMember): boolean {
  const { commit, lastIndex, confState } = leader.raft.status()
  const { voters, learners, votersOutgoing } = confState
  if (commit !== lastIndex || votersOutgoing.length > 0) return false
  const isAnswered = [...world.checks.acknowledged.keys()].some((text) => text.startsWith("calm"))
  return (
    isAnswered &&
    [...voters, ...learners].every((id) => {
      const member = world.members.get(id)
      return (
        member?.isAlive === true &&
        member.appliedIndex === commit &&
        member.raft.status().lead === leader.id
      )
    })
  )
}

function describe(world: World): string {
  const states = [...world.members.values()].map((member) => {
    const { id, raftState, term, commit, lastIndex, confState, lead } = member.raft.status()
    return `${id} ${raftState} t${term} lead ${lead} commit ${commit}/${lastIndex} applied ${member.appliedIndex} voters ${confState.voters.join(",")}&&${confState.votersOutgoing.join(",")} learners ${confState.learners.join(",")}`
  })
  return `\n    ${states.join("\n    ")}`
}
