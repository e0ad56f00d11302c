/** What the ends of tasks mean for other tasks and for the run: edges, servers that nobody needs, the verdict. */
import { type Edge, type Task, type TaskGroup, taskName, type Verdict } from "../schema/index.ts"
import { refOf, type RunDraft } from "./draft.ts"
import { isOpen } from "./live.ts"
import type { GroupRow } from "./types.ts"

/** Why a task that would have run was skipped. */
export const unneeded = "nothing needs it any more"

type Result = NonNullable<Task["result"]>
type UntouchedResult = NonNullable<GroupRow["untouchedResult"]>

/** How one edge stands: all members have the mark · some still may get it · one ended without it. */
export function edgeState(
  upstream: GroupRow | undefined,
  on: Edge["on"],
): "met" | "open" | "never" {
  if (upstream === undefined) return "never"
  if (upstream[on] === upstream.count) return "met"
  return upstream.finished === upstream.count ? "never" : "open"
}

/** Groups that need this one alive: an edge on its end is no such need. */
export function clientsOf(
  plan: { readonly groups: readonly TaskGroup[] },
  server: string,
): readonly TaskGroup[] {
  return plan.groups.filter((group) =>
    group.after.some(
      (edge) => edge.group === server && (edge.on === "started" || edge.on === "ready"),
    ),
  )
}

function isDone(row: GroupRow): boolean {
  return row.finished === row.count
}

/** The first cause decides the verdict; what follows from it does not change it. */
export function blame(draft: RunDraft, verdict: Verdict, reason: string): void {
  if (draft.run.verdict === undefined) draft.change({ verdict, reason })
}

/** Ends a task for good. An attempt's own end has its event already; `quiet` says so. */
export function finishTask(
  draft: RunDraft,
  task: Task,
  end: { readonly result: Result; readonly reason?: string; readonly quiet?: boolean },
): void {
  const { notBefore: _, ...rest } = task
  draft.setTask({
    ...rest,
    state: "finished",
    result: end.result,
    ...(end.reason !== undefined && { reason: end.reason }),
  })
  if (end.quiet !== true) {
    draft.event("task-ended", {
      task: task.name,
      message: end.reason === undefined ? end.result : `${end.result}: ${end.reason}`,
    })
  }
  const group = draft.definition(task.group)!
  if (end.result !== "failed" && end.result !== "lost") return
  const what = `${task.name} ${end.result === "failed" ? "failed" : "was lost"}: ${end.reason}`
  if (group.role && group.vital) blame(draft, end.result, what)
  if (group.failFast === true) failFast(draft, group, what)
}

/** The others of the group end with the first that failed for good. */
function failFast(draft: RunDraft, group: TaskGroup, what: string): void {
  const reason = `stopped because ${what}`
  endGroup(draft, group, { result: "cancelled", reason, stop: { why: "failed_fast", reason } })
}

/** Ends the members of a group that have no row, all alike. */
function finishUntouched(
  draft: RunDraft,
  group: TaskGroup,
  end: { readonly result: UntouchedResult; readonly reason: string },
): void {
  const row = draft.group(group.name)
  const members = draft.untouched(group.name)
  if (row.untouched === "finished" || members === 0) return
  draft.setGroup({
    ...row,
    untouched: "finished",
    untouchedResult: end.result,
    untouchedReason: end.reason,
    finished: row.finished + members,
  })
  draft.event("task-ended", { task: group.name, message: `${end.result}: ${end.reason}` })
}

/** Ends everything of a group that waits; what runs is told to stop, when `stop` says why. */
export function endGroup(
  draft: RunDraft,
  group: TaskGroup,
  end: { readonly result: UntouchedResult; readonly reason: string; readonly stop?: Stop },
): void {
  for (const task of draft.touched(group.name)) {
    if (task.state === "pending" || task.state === "blocked") {
      finishTask(draft, task, { result: end.result, reason: end.reason })
    } else if (end.stop !== undefined && isOpen(task)) {
      stopTask(draft, task, end.stop)
    }
  }
  finishUntouched(draft, group, end)
}

/** Why a running task is told to stop: for the rows, and for people. */
interface Stop {
  readonly why: NonNullable<Task["stop"]>
  readonly reason: string
}

export function stopTask(draft: RunDraft, task: Task, { why, reason }: Stop): void {
  // The row says why when the task ends; of the other causes, the run says it.
  const culprit = why === "failed_fast" ? { reason } : {}
  draft.setTask({ ...task, state: "stopping", stop: why, ...culprit })
  const attempt = task.attempts.at(-1)!
  draft.event("task-stopping", {
    task: task.name,
    attempt: attempt.n,
    node: draft.nodeName(attempt.node),
    message: reason,
  })
  draft.cause({ type: "task-stopping", task: refOf(task), reason })
}

/** Lets every consequence happen: to be called after each change of the run. */
export function advance(draft: RunDraft): void {
  while (draft.moved && draft.run.state !== "finished") {
    draft.moved = false
    for (const group of draft.plan.groups) {
      unblock(draft, group)
      release(draft, group)
    }
    settle(draft)
  }
}

const unmetClause = {
  started: "never started",
  ready: "did not become ready",
  succeeded: "did not succeed",
  finished: "does not exist",
}

function unblock(draft: RunDraft, group: TaskGroup): void {
  const row = draft.group(group.name)
  if (row.untouched === "finished") return
  if (row.untouched === "blocked" && !edgesMet(draft, group)) return
  const anchor = group.with === undefined ? undefined : draft.task(group.with, 0)
  if (anchor?.state === "finished" && anchor.attempts.length === 0) {
    const upstream = draft.definition(anchor.group)
    skip(draft, group, { upstream, reason: `${anchor.group} never ran on any node` })
  } else if (row.untouched === "blocked") {
    draft.setGroup({ ...row, untouched: "pending" })
    draft.event("task-pending", { task: group.name })
  }
}

/** Whether every edge is met. A group with an edge that never will be is skipped. */
function edgesMet(draft: RunDraft, group: TaskGroup): boolean {
  let met = true
  for (const edge of group.after) {
    const upstream = draft.definition(edge.group)
    const state = edgeState(upstream && draft.group(edge.group), edge.on)
    if (state === "never") {
      const why = reasonOf(draft, edge.group)
      skip(draft, group, { upstream, reason: `${edge.group} ${unmetClause[edge.on]}${why}` })
      return false
    }
    met &&= state === "met"
  }
  return met
}

/** ` (exited with code 1)`: why the first member of a group that did not end well ended so. */
function reasonOf(draft: RunDraft, name: string): string {
  if (draft.definition(name) === undefined) return ""
  const culprit = draft.touched(name).find((task) => task.result !== "succeeded" && task.reason)
  const reason = culprit?.reason ?? draft.group(name).untouchedReason
  return reason === undefined ? "" : ` (${reason})`
}

function skip(
  draft: RunDraft,
  group: TaskGroup,
  why: { readonly upstream: TaskGroup | undefined; readonly reason: string },
): void {
  finishUntouched(draft, group, { result: "skipped", reason: why.reason })
  if (!group.role || !group.vital) return
  // What troupe itself could not do for a role is no failure of the user's program.
  const verdict = why.upstream?.role === false ? "lost" : "failed"
  blame(draft, verdict, `${group.name} was skipped: ${why.reason}`)
}

/** Servers stop when every client has finished; staging for roles that have all finished is not begun. */
function release(draft: RunDraft, group: TaskGroup): void {
  const row = draft.group(group.name)
  if (isDone(row)) return
  if (group.life === "server") {
    const clients = clientsOf(draft.plan, group.name)
    if (clients.length === 0) return
    if (!clients.every((client) => isDone(draft.group(client.name)))) return
    endGroup(draft, group, {
      result: "skipped",
      reason: unneeded,
      stop: { why: "unneeded", reason: "everything that used it has finished" },
    })
  } else if (group.work.driver === "builtin" && group.work.verb === "stage") {
    const users = draft.plan.groups.filter((user) =>
      user.after.some((edge) => edge.group === group.name),
    )
    if (users.length === 0 || !users.every((user) => isDone(draft.group(user.name)))) return
    endGroup(draft, group, { result: "skipped", reason: unneeded })
  }
}

/** Decides the verdict when the roles are done, and ends the run when everything is. */
function settle(draft: RunDraft): void {
  const groups = draft.plan.groups
  const done = (group: TaskGroup): boolean => isDone(draft.group(group.name))
  if (draft.run.state === "active" && groups.every((group) => !group.role || done(group))) {
    const verdict = draft.run.verdict ?? "succeeded"
    draft.change({ state: "ending", verdict })
    draft.event("run-ending", { message: draft.run.reason ?? verdict })
  }
  if (draft.run.state !== "ending" || !groups.every(done)) return
  const fault = draft.run.verdict === "succeeded" ? bookkeepingFault(draft) : undefined
  if (fault !== undefined) draft.change({ verdict: "lost", reason: fault })
  draft.change({ state: "finished", endedAt: draft.time })
  const { verdict, reason } = draft.run
  draft.event("run-finished", {
    message: reason === undefined ? verdict! : `${verdict}: ${reason}`,
  })
}

/** What of the result of a run that went well could not be brought home. */
function bookkeepingFault(draft: RunDraft): string | undefined {
  for (const group of draft.plan.groups) {
    const row = draft.group(group.name)
    if (group.role || row.succeeded === row.count) continue
    if (group.work.driver === "builtin" && group.work.verb === "seal") {
      return `bundle could not be made: ${group.name}${reasonOf(draft, group.name)}`
    }
    const failed = draft
      .touched(group.name)
      .find((task) => task.result === "failed" || task.result === "lost")
    if (group.vital && failed !== undefined) {
      return `${taskName(group, failed.index)} ${failed.result}: ${failed.reason ?? "for no known reason"}`
    }
  }
  return undefined
}
