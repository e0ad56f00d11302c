/** Attempts begin: a placement is checked against the rows as they are, and becomes an assignment. */
import type { Attempt, TaskGroup } from "../schema/index.ts"
import { find, type Found, stale } from "./attempts.ts"
import { firstUnmet } from "./constraints.ts"
import { type Draft, refOf } from "./draft.ts"
import { nextAttempt } from "./live.ts"
import { advance } from "./outcome.ts"
import type { ItemResult, Placement } from "./types.ts"

/** Attempts that a task's row keeps; of a service the oldest in between are dropped. */
const attemptsKept = 32

/** Why this placement is no longer right, if it is not. */
function misplaced(
  draft: Draft,
  { run, task, group }: Found,
  placement: Placement,
): string | undefined {
  if (task.state !== "pending") return `${task.name} is ${task.state}, not pending`
  if (placement.attempt !== nextAttempt(task)) {
    return `attempt ${nextAttempt(task)} of ${task.name} is next, not ${placement.attempt}`
  }
  if (task.notBefore !== undefined && task.notBefore > draft.time) {
    return `${task.name} waits until its next try`
  }
  const { live = 0 } = run.group(group.name)
  if (group.parallel !== undefined && live >= group.parallel) {
    return `${live} of ${group.name} are running, ${group.parallel} at once are allowed`
  }
  const member = draft.member(placement.node)
  if (member === undefined) return `there is no member ${placement.node}`
  if (member.cordon !== undefined && !isTied(group)) {
    return `${member.name} is ${member.cordon.mode === "drain" ? "being drained" : "cordoned"}`
  }
  const session = draft.session(placement.node)
  if (session?.state !== "up" || session.lease !== placement.lease) {
    return `lease ${placement.lease} of ${member.name} is over`
  }
  const unmet = firstUnmet(group.needs, member)
  if (unmet !== undefined) return `${member.name} ${unmet.reason}`
  if (group.with !== undefined) {
    const anchor = run.task(group.with, 0)?.attempts.at(-1)
    if (anchor?.node !== placement.node) return `${group.with} is not on ${member.name}`
  }
  return undefined
}

/** Bookkeeping of what ran on that node, which nobody else can do. */
function isTied(group: TaskGroup): boolean {
  return group.work.driver === "builtin" && group.with !== undefined
}

/** The fence is the entry's index: unique for (task, attempt), shared by the assignments of one entry. */
export function assign(draft: Draft, placement: Placement): ItemResult {
  const found = find(draft, placement)
  if ("ok" in found) return found
  const wrong = misplaced(draft, found, placement)
  if (wrong !== undefined) return stale(wrong)
  const { run, task } = found
  const attempt: Attempt = {
    n: placement.attempt,
    fence: draft.index,
    node: placement.node,
    lease: placement.lease,
    address: placement.address,
    state: "assigned",
    assignedAt: draft.time,
  }
  const { notBefore: _, reason: __, ...rest } = task
  run.setTask({ ...rest, state: "active", attempts: keep([...task.attempts, attempt]) })
  run.event("task-assigned", {
    task: task.name,
    attempt: attempt.n,
    node: run.nodeName(attempt.node),
  })
  run.cause({ type: "attempt-assigned", task: refOf(task), fence: draft.index })
  advance(run)
  return { ok: true, id: draft.index }
}

/** Drops the oldest attempts, but not the first that started or was ready: counters stand on those. */
function keep(attempts: Attempt[]): Attempt[] {
  if (attempts.length <= attemptsKept) return attempts
  const started = attempts.findIndex((attempt) => attempt.startedAt !== undefined)
  const ready = attempts.findIndex((attempt) => attempt.readyAt !== undefined)
  const droppable = attempts.findIndex((_, place) => place !== started && place !== ready)
  return attempts.toSpliced(droppable, 1)
}
