/** A job's whole process tree: who belongs to it, and signals to all of it. */
import { realCgroups } from "./cgroup-files.ts"
import type { Cgroups } from "./cgroups.ts"
import { killLimited, limitedMembers } from "./limits.ts"
import {
  isAlive,
  listProcesses,
  type ProcessId,
  type ProcessStat,
  readNonce,
  readStat,
  signalProcess,
} from "./process-table.ts"

export interface Tree {
  /** The job itself: leader of its own session and group. */
  readonly leader: ProcessId
  readonly nonce: string
  readonly cgroup: string | undefined
  /** Cgroups that hold it to its limits; in v2 it has left `cgroup` for these. */
  readonly limited: readonly string[]
  /** The last start time a member can have that is known by the leader's session alone; undefined while it lives.
   *  (Later the number may be another session's.) */
  readonly sessionEndTicks: number | undefined
}

/** Members by cgroup, by session or group, by the nonce in their environment, and children of any of these. */
export function treeMembers(tree: Tree, cgroups: Cgroups | undefined): ProcessStat[] {
  const caged = new Set(tree.cgroup === undefined ? [] : (cgroups?.members(tree.cgroup) ?? []))
  for (const pid of limitedMembers(tree.limited)) caged.add(pid)
  // Nothing of the tree is older than its leader: that spares reading most environments.
  const born = Number(tree.leader.ticks)
  const young = listProcesses().filter((stat) => Number(stat.ticks) >= born)
  return withChildren(
    young,
    (stat) => caged.has(stat.pid) || inSession(stat, tree) || readNonce(stat.pid) === tree.nonce,
  )
}

function inSession(stat: ProcessStat, tree: Tree): boolean {
  const { leader } = tree
  if (stat.pid === leader.pid) return stat.ticks === leader.ticks
  if (stat.session !== leader.pid && stat.group !== leader.pid) return false
  return tree.sessionEndTicks === undefined || Number(stat.ticks) <= tree.sessionEndTicks
}

function withChildren(
  all: readonly ProcessStat[],
  belongs: (stat: ProcessStat) => boolean,
): ProcessStat[] {
  const children = Map.groupBy(all, (stat) => stat.parent)
  const found = new Map<number, ProcessStat>()
  const queue = all.filter(belongs)
  for (const stat of queue) {
    if (found.has(stat.pid)) continue
    found.set(stat.pid, stat)
    queue.push(...(children.get(stat.pid) ?? []))
  }
  return [...found.values()]
}

/** One signal to each; a process that went meanwhile is left out. Answers how many got it. */
export function signalAll(members: readonly ProcessId[], signal: NodeJS.Signals): number {
  return members.filter((member) => signalProcess(member, signal)).length
}

/** Quick and cheap, right after the leader's end: false when something of its cgroup or group may still run. */
export function looksEmpty(tree: Tree, cgroups: Cgroups | undefined): boolean {
  if (!removeCgroups(tree, cgroups)) return false
  try {
    process.kill(-tree.leader.pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH"
  }
}

/** False while something of it runs in one of them. */
export function removeCgroups(tree: Tree, cgroups: Cgroups | undefined): boolean {
  const own = tree.cgroup === undefined || (cgroups?.remove(tree.cgroup) ?? true)
  return tree.limited.every((path) => realCgroups.remove(path)) && own
}

/** KILL to all that its cgroups hold, and then to whatever else belongs to it; answers those. */
export function killTree(tree: Tree, cgroups: Cgroups | undefined): readonly ProcessId[] {
  if (tree.cgroup !== undefined) cgroups?.kill(tree.cgroup)
  killLimited(tree.limited, realCgroups)
  const members = treeMembers(tree, cgroups)
  signalAll(members, "SIGKILL")
  return members
}

/** The process that was started with this nonce: of several the one that leads its session, else the oldest. */
export function findByNonce(nonces: ReadonlySet<string>): Map<string, ProcessStat> {
  const found = new Map<string, ProcessStat>()
  for (const stat of listProcesses()) {
    const nonce = readNonce(stat.pid)
    if (nonce === undefined || !nonces.has(nonce)) continue
    const other = found.get(nonce)
    if (!other || rank(stat) < rank(other)) found.set(nonce, stat)
  }
  return found
}

function rank(stat: ProcessStat): number {
  return stat.session === stat.pid ? -1 : Number(stat.ticks)
}

/** Whether the process that a journal names still is that process: pid, start time and nonce agree. */
export function isSameJob(id: ProcessId, nonce: string): boolean {
  if (!isAlive(id)) return false
  const seen = readNonce(id.pid)
  // A program may overwrite its environment block (setproctitle): then pid and start time must do.
  return seen === undefined || seen === nonce
}

/** Start times are counted in these since boot. */
export function ticksNow(): number {
  const own = readStat(process.pid)
  // Our own start time plus our age: no other clock shares the kernel's origin exactly.
  return own ? Number(own.ticks) + Math.ceil(process.uptime() * 100) + 1 : 0
}
