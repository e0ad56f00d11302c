/** What a new run takes over from the finished run that it repeats. */
import { type Plan, rangesOf, type Task, type TaskGroup } from "../schema/index.ts"
import { readPlan, readTasks } from "./read.ts"
import type { RetryItem, View } from "./types.ts"

/** The plan of a retry and the members that are not run again, from a view that has all rows of the finished run.
 *  undefined: its rows are not there. */
export function carryOver(
  view: View,
  run: string,
  how: RetryItem["how"],
): Pick<RetryItem, "plan" | "kept"> | undefined {
  const origin = readPlan(view, run)
  if (origin === undefined) return undefined
  // What an earlier retry has carried is carried anew, or run.
  const plan: Plan = { ...origin, groups: origin.groups.map(withoutCarried) }
  if (how === "rerun") return { plan, kept: [] }
  const succeeded = new Map<string, Task[]>()
  for (const task of readTasks(view, run)) {
    if (task.result !== "succeeded") continue
    const tasks = succeeded.get(task.group) ?? []
    succeeded.set(task.group, tasks)
    tasks.push(task)
  }
  const isWhole = (name: string): boolean =>
    succeeded.get(name)?.length === plan.groups.find((group) => group.name === name)?.count
  const kept: RetryItem["kept"][number][] = []
  const groups = plan.groups.map((group) => {
    if (!isCarriable(plan, group, isWhole)) return group
    const tasks = succeeded.get(group.name) ?? []
    for (const { index, outputs } of tasks) {
      if (outputs.length > 0) kept.push({ group: group.name, index, outputs })
    }
    const plain = tasks.filter(({ outputs }) => outputs.length === 0)
    if (plain.length === 0) return group
    return { ...group, carried: rangesOf(plain.map(({ index }) => index)) }
  })
  return { plan: { ...plan, groups }, kept }
}

function withoutCarried(group: TaskGroup): TaskGroup {
  const { carried: _, ...rest } = group
  return rest
}

/** Roles that end by themselves, and what collects their output where all of it is there. A role of which the output
 *  was not collected runs again: nobody knows any more where it lies. */
function isCarriable(plan: Plan, group: TaskGroup, isWhole: (group: string) => boolean): boolean {
  const { work } = group
  if (work.driver === "builtin") {
    const role = plan.groups.find(({ name }) => work.verb === "collect" && name === work.group)
    return role !== undefined && isCarriable(plan, role, isWhole) && isWhole(group.name)
  }
  if (!group.role || group.life !== "batch") return false
  return plan.groups.every(
    ({ name, work: other }) =>
      other.driver !== "builtin" ||
      other.verb !== "collect" ||
      other.group !== group.name ||
      (isWhole(group.name) && isWhole(name)),
  )
}
