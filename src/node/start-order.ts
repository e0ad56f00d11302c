/** From a task's row to the order that its node gets. Pure. */
import {
  type Member,
  type Plan,
  type Task,
  type TaskGroup,
  understands,
  versionsOf,
} from "../schema/index.ts"
import { readPlan, readRun, type View } from "../state/index.ts"
import { groupOf, type LaunchRows, resolveLaunch } from "./launch.ts"
import type { StartOrder } from "./orders.ts"
import { runRows } from "./run-rows.ts"

/** What to send for the task's live attempt; a problem is a sentence that becomes the attempt's ending. */
export function startOrder(
  tables: View,
  task: Task,
  member: Member,
): StartOrder | { problem: string } {
  const plan = readPlan(tables, task.run)
  const group = plan && groupOf(plan, task.group)
  if (!plan || !group) return { problem: "its plan is gone" }
  const deadlineMs = group.deadlineMs
  if (group.work.driver === "builtin") {
    return { driver: "builtin", work: group.work, ...(deadlineMs && { deadlineMs }) }
  }
  const resolved = resolveLaunch(launchRows(tables, task, plan), task)
  if ("problem" in resolved) return resolved
  const { argv, env, cwd, readiness } = resolved.launch
  return {
    driver: "process",
    argv: [...argv],
    env: { ...env },
    ...(cwd !== undefined && { cwd }),
    directory: group.work.directory,
    files: group.work.files,
    ...(readiness && { readiness }),
    ...(deadlineMs && { deadlineMs }),
    graceMs: group.graceMs,
    onKeeperDeath: group.onLoss === "requeue" ? "die" : "survive",
    ...(group.work.limits && { limits: group.work.limits }),
    // Members of older builds take no order with words that they do not know.
    ...(group.selfStopMs !== undefined &&
      understands(versionsOf(member), 3) && { selfStopMs: group.selfStopMs }),
    progress: isShown(plan, group) || isWatched(plan, group.name),
  }
}

/** Members of a job know nothing of each other: with ten thousand of them, none is looked at but the one that starts. */
function launchRows(tables: View, task: Task, plan: Plan): LaunchRows {
  if (plan.kind !== "job") return runRows(tables, task.run)
  const { id, label } = readRun(tables, task.run)!
  return { run: { id, label, tasks: [task] }, plan, members: [] }
}

/** Groups that people watch member by member: of larger ones `started` would double what the log carries. */
const shownMembersMax = 16

function isShown(plan: Plan, group: TaskGroup): boolean {
  return plan.kind === "manifest" || group.count <= shownMembersMax
}

/** Whether an edge waits for this group's start or readiness. */
function isWatched(plan: Plan, group: string): boolean {
  return plan.groups.some((other) =>
    other.after.some(
      (edge) => edge.group === group && (edge.on === "started" || edge.on === "ready"),
    ),
  )
}
