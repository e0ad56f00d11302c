/** A job's whole process tree: who belongs to it, and signals to all of it. */
import type { Cgroups } from "./cgroups.ts"
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
  /** The last start time a member can have that is known by the leader's session alone; undefined while it lives.
   *  (Later the number may be another session's.) */
  readonly sessionEndTicks: number | undefined
}

/** Members by cgroup, by session or group, by the nonce in their environment, and children of any of these. */
export function treeMembers(tree: Tree, cgroups: Cgroups | undefined): ProcessStat[] {
  const caged = new Set(tree.cgroup === undefined ? [] : (cgroups?.members(tree.cgroup) ?? []))
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
  if (tree.cgroup !== undefined && cgroups && !cgroups.remove(tree.cgroup)) return false
  try {
    process.kill(-tree.leader.pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH"
  }
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
