/** What must be decided at a certain time although nobody says a word: timeouts, lost nodes, work that hangs. */
import type { Attempt, Member, Task, TaskGroup } from "../schema/index.ts"
import {
  type DecideItem,
  endsAnyway,
  firstUnmet,
  isOpen,
  liveAttempt,
  type TaskRef,
} from "../state/index.ts"
import type { Board, GroupBoard, RunBoard } from "./board.ts"
import type { LossPatience } from "./types.ts"

/** After its session was lost, a node has this long to come back before its attempts are given up for good. With the
 *  silence before the session is lost this makes the 30 s of DESIGN.md §6.7. */
export const lossAfterMs = 25_000
/** The same for work that may be done again: past the lease that the node held (DESIGN.md §6.2), with a margin. With the
 *  times of a LAN; whoever has others says so. */
export const requeueAfterMs = 4000
const leaseMsUsual = 6000
export const lossPatienceUsual: LossPatience = { requeueMs: requeueAfterMs, leaseMs: leaseMsUsual }
/** For a node to end what it should have ended, before its attempt is given up. */
export const overdueMarginMs = 60_000
/** Bookkeeping without a deadline of its own. */
export const bookkeepingMs = 10 * 60_000

export interface Timed {
  /** State time, ms. Without an item there is only something to look at: a backoff that is over. */
  readonly at: number
  readonly item?: DecideItem
}

/** Every timed decision of one run, in the order of the plan. Each holds until the rows change. */
export function timedOf(board: Board, run: RunBoard): readonly Timed[] {
  if (run.run === undefined) return []
  const timed: Timed[] = []
  if (run.run.state === "active" && hasWork(run)) {
    timed.push({ at: run.run.deadlineAt, item: { kind: "run-timeout", run: run.run.id } })
  }
  for (const group of run.groups.values()) {
    for (const task of group.tasks.values()) {
      const live = liveAttempt(task)
      if (live !== undefined)
        timed.push(...ofAttempt(board, run, { group: group.definition, task, live }))
      if (task.state === "pending" && task.notBefore !== undefined)
        timed.push({ at: task.notBefore })
    }
    const isLate = run.run.state === "ending" && group.hasPending
    if (isLate) timed.push(...ofWaiting(board, run, group))
  }
  return timed
}

/** Whether the run's timeout would find a role to stop: the same question that apply asks. */
function hasWork(run: RunBoard): boolean {
  for (const group of run.groups.values()) {
    if (!group.definition.role || group.row === undefined) continue
    if (group.row.untouched !== "finished" && group.hasUntouched) return true
    for (const task of group.tasks.values()) {
      if (isOpen(task)) return true
    }
  }
  return false
}

function refOf(task: Task): TaskRef {
  return { run: task.run, group: task.group, index: task.index }
}

interface Live {
  readonly group: TaskGroup
  readonly task: Task
  readonly live: Attempt
}

function ofAttempt(board: Board, run: RunBoard, { group, task, live }: Live): Timed[] {
  const timed: Timed[] = []
  const ref = refOf(task)
  const name = board.members.get(live.node)?.name ?? `member ${live.node}`
  const session = board.sessions.get(live.node)
  const stopped = endsAnyway(task)
  const member = board.members.get(live.node)
  if (member === undefined) {
    // Removed by hand, or lost with the incarnation before: nobody waits for a node that never comes back.
    const reason = `${name} is no member any more`
    timed.push({
      at: 0,
      item: { kind: "attempt-lost", task: ref, fence: live.fence, reason },
    })
  } else if (member.dead !== undefined && session?.state === "lost") {
    const reason = `${name} was declared dead`
    const item: DecideItem = { kind: "attempt-lost", task: ref, fence: live.fence, reason }
    timed.push({ at: 0, item })
  } else if (session?.state === "lost" && (group.onLoss !== "wait" || stopped)) {
    const reason = `${name} was lost`
    const item: DecideItem = { kind: "attempt-lost", task: ref, fence: live.fence, reason }
    const wait = group.onLoss === "requeue" ? requeueWait(board, group) : lossAfterMs
    timed.push({ at: session.at + wait, item })
  }
  timed.push(...ofDrain(member, { group, task, live }))
  const due = group.role
    ? run.run!.deadlineAt + group.graceMs
    : live.assignedAt + (group.deadlineMs ?? bookkeepingMs)
  const reason = `${name} had not ended it ${overdueMarginMs / 1000} s after its deadline`
  const item: DecideItem = { kind: "overdue", task: ref, fence: live.fence, reason }
  timed.push({ at: due + overdueMarginMs, item })
  return timed
}

/** As long as its node may go on with it: one that may run longer without a lease is waited for longer. */
function requeueWait({ lossPatience }: Board, { selfStopMs = 0 }: TaskGroup): number {
  const { requeueMs, leaseMs } = lossPatience
  return requeueMs + Math.max(0, selfStopMs - leaseMs)
}

/** Services leave a drained node at once, what ends by itself has until the deadline. Bookkeeping is short, and tied to
 *  what ran there. */
function ofDrain(member: Member | undefined, { group, task, live }: Live): Timed[] {
  const { cordon, name } = member ?? {}
  if (cordon?.mode !== "drain" || task.state !== "active" || group.work.driver === "builtin")
    return []
  const at = group.life === "service" ? 0 : cordon.deadlineAt
  if (at === undefined) return []
  const reason = `${name} is drained: ${cordon.reason}`
  return [{ at, item: { kind: "drained", task: refOf(task), fence: live.fence, reason } }]
}

/** Once the roles have ended, bookkeeping must not wait for a node that is gone, or the run would not end. Before, the
 *  run's timeout ends every wait. */
function ofWaiting(board: Board, run: RunBoard, group: GroupBoard): Timed[] {
  const { definition } = group
  const limit = run.run!.deadlineAt + (definition.deadlineMs ?? bookkeepingMs)
  const hope = hopeUntil(board, run, definition)
  const at = Math.min(limit, hope.until)
  const reason = hope.until < limit ? hope.reason : "no node took it in time"
  const timed: Timed[] = []
  for (const index of group.pending()) {
    const task = { run: run.run!.id, group: definition.name, index }
    timed.push({ at, item: { kind: "unplaceable", task, reason } })
  }
  return timed
}

/** Until when some member may still come to fit: for ever while one that could is up or was never heard. */
function hopeUntil(
  board: Board,
  run: RunBoard,
  group: TaskGroup,
): { readonly until: number; readonly reason: string } {
  const anchor = group.with === undefined ? undefined : run.anchor(group.with)
  let until = 0
  const names: string[] = []
  for (const member of board.members.values()) {
    if (anchor !== undefined && member.id !== anchor) continue
    if (firstUnmet(group.needs, member) !== undefined) continue
    const session = board.sessions.get(member.id)
    names.push(member.name)
    until = Math.max(until, session?.state === "lost" ? session.at + lossAfterMs : Infinity)
  }
  const reason = names.length === 0 ? "no node fits" : `${names.join(", ")} was lost`
  return { until, reason }
}
