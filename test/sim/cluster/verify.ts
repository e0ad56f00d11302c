/** What must hold of a cluster when the faults are over. */
import type { Member, Run, Task } from "../../../src/schema/index.ts"
import { clusterKey, memberPrefix, runPrefix } from "../../../src/state/index.ts"
import type { Submission } from "./clients.ts"
import type { Faults } from "./faults.ts"
import { gauge, leads } from "./roles.ts"
import type { Machine } from "./machine.ts"
import { InvariantError } from "./watch.ts"
import type { World } from "./world.ts"

function rowsOf<T>(machine: Machine, prefix: string): T[] {
  return [...(machine.replicated?.rows ?? [])]
    .filter(([key]) => key.startsWith(prefix))
    .map(([, value]) => JSON.parse(value) as T)
}

export function membersOf(machine: Machine): Member[] {
  return rowsOf<Member>(machine, memberPrefix)
}

export function runsOf(machine: Machine): Run[] {
  return rowsOf<Run>(machine, runPrefix)
}

/** The one leader that everybody follows, with everybody as its members; undefined while that is not so. */
export function formed(world: World): Machine | undefined {
  const { machines } = world
  const leaders = machines.filter(leads)
  const [leader] = leaders
  if (!leader || leaders.length > 1) return undefined
  const members = membersOf(leader)
  const dissolved = rowsOf<{ dissolvedInto?: string }>(leader, clusterKey)[0]?.dissolvedInto
  if (dissolved !== undefined || members.length < machines.length) return undefined
  const peers = new Set(members.map(({ peerId }) => peerId))
  const isIn = machines.every(
    (machine) =>
      machine.node?.ready().ready === true &&
      peers.has(machine.peerId) &&
      gauge(machine, "troupe_members") === members.length &&
      (!isReplica(machine, members) ||
        machine.replicated?.clusterId === leader.replicated?.clusterId),
  )
  if (!isIn) return undefined
  const able = machines.filter(({ options }) => options.voter !== "never").length
  const voters = members.filter(({ role }) => role === "voter").length
  return voters === wantedVoters(able) ? leader : undefined
}

function wantedVoters(able: number): number {
  if (able >= 7) return 5
  return able >= 3 ? 3 : 1
}

function isReplica(machine: Machine, members: readonly Member[]): boolean {
  return members.some(({ peerId, role }) => peerId === machine.peerId && role !== "worker")
}

/** Replicas at the leader's index, with the leader's rows. */
export function agreed(world: World, leader: Machine): boolean {
  const members = membersOf(leader)
  const replicas = world.machines.filter((machine) => isReplica(machine, members))
  return replicas.every(({ replicated }) => replicated?.index === leader.replicated?.index)
}

export function sameTables(world: World, leader: Machine): void {
  const expected = tablesOf(leader)
  for (const machine of world.machines) {
    if (!isReplica(machine, membersOf(leader))) continue
    const actual = tablesOf(machine)
    if (actual !== expected) throw new InvariantError(`${machine.name} has other tables`)
  }
}

/** One run a key, each with one verdict. */
export function accountedFor(acknowledged: readonly Submission[], leader: Machine): void {
  const runs = runsOf(leader)
  const keys = runs.map(({ key }) => key)
  if (new Set(keys).size !== keys.length) throw new InvariantError("two runs of one key")
  for (const { key, run: id } of acknowledged) {
    const run = runs.find((one) => one.key === key)
    if (!run) throw new InvariantError(`${key} was acknowledged as ${id} and is gone`)
    if (run.id !== id) throw new InvariantError(`${key} was acknowledged as ${id} and is ${run.id}`)
  }
  for (const run of runs) {
    if (run.state !== "finished") throw new InvariantError(`${run.id} did not finish`)
    if (run.verdict === undefined) throw new InvariantError(`${run.id} has no verdict`)
  }
}

/** No attempt was started twice, by any keeper. */
export function startedOnce(world: World): number {
  const seen = new Set<string>()
  for (const machine of world.machines) {
    for (const { run, task, fence } of machine.keeper.starts) {
      const key = `${run}/${task}/${fence}`
      if (seen.has(key)) throw new InvariantError(`${key} was started twice`)
      seen.add(key)
    }
  }
  return seen.size
}

/** A role fails only where something was done to the nodes of its run. */
export function untouchedSucceeded(
  world: World,
  leader: Machine,
  faults: Faults,
): { succeeded: number; total: number } {
  const members = membersOf(leader)
  const tasks = rowsOf<Task>(leader, "task/")
  const origin = world.clock.now() - world.clock.boottime()
  let succeeded = 0
  const runs = runsOf(leader)
  for (const run of runs) {
    if (run.verdict === "succeeded" || run.cancelRequested !== undefined) {
      // What somebody cancelled came out as it should.
      succeeded++
      continue
    }
    const nodes = new Set(
      tasks
        .filter((task) => task.run === run.id)
        .flatMap((task) => task.attempts.map((attempt) => attempt.node)),
    )
    const machines = world.machines.filter((machine) =>
      // By name: who was wiped is another member now. A ghost that is gone was somebody's too.
      [...nodes].some(
        (id) => (members.find((one) => one.id === id)?.name ?? machine.name) === machine.name,
      ),
    )
    const from = run.createdAt - origin
    const to = (run.endedAt ?? world.clock.now()) - origin
    if (machines.some((machine) => faults.wasTouched(machine, from, to))) continue
    throw new InvariantError(
      `${run.id} is ${run.verdict} (${run.reason}) though nothing was done to its nodes\n${JSON.stringify(tasks.filter((task) => task.run === run.id))}`,
    )
  }
  return { succeeded, total: runs.length }
}

/** The rows as text, by key: equal tables give equal texts. */
function tablesOf(machine: Machine): string {
  return JSON.stringify([...machine.replicated!.rows].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
