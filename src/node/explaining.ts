/** Why tasks wait, for people: what waits alike is said once. */
import { type ExplainedTask, type ExplainView, type Task, TroupeError } from "../schema/index.ts"
import { readMember, readTask, taskRefOf, type View } from "../state/index.ts"
import type { CallOptions } from "./context.ts"
import type { OperationParts } from "./operations.ts"
import { find } from "./run-operations.ts"
import { runView } from "./run-rows.ts"

/** Nodes named for one task: the rest says the same in a larger cluster. */
const rejectedMax = 50

export async function explainRun(
  parts: OperationParts,
  body: { run: string; task?: string },
  options: CallOptions,
): Promise<ExplainView> {
  await parts.replica.readBarrier(options.signal)
  const { id, view } = await find(parts, body.run)
  const run = runView(view, id, "some")
  const { label, state, verdict, reason, groups = [] } = run
  const tasks =
    body.task === undefined
      ? waitingOf(parts, run.tasks, groups)
      : [explained(parts, findTask(view, { run: id, label, task: body.task }))]
  return {
    run: id,
    label,
    state,
    ...(verdict !== undefined && { verdict }),
    ...(reason !== undefined && { reason }),
    groups: [...groups],
    tasks,
  }
}

function findTask(
  view: View,
  { run, label, task }: { readonly run: string; readonly label: string; readonly task: string },
): Task {
  const found = readTask(view, taskRefOf(run, task))
  if (found?.name === task) return found
  throw new TroupeError("ERR_TASK_NOT_FOUND", `run ${label} has no task '${task}'`, { run, task })
}

/** Of the tasks that the view lists, those that wait; those that it leaves out wait like the ones of their group. */
function waitingOf(
  parts: OperationParts,
  tasks: readonly Task[],
  groups: ExplainView["groups"],
): ExplainedTask[] {
  const items: ExplainedTask[] = []
  for (const { name, pending, blocked } of groups) {
    const own = tasks.filter(
      ({ group, state }) => group === name && (state === "pending" || state === "blocked"),
    )
    const alike = new Map<string, ExplainedTask>()
    for (const task of own) {
      const item = explained(parts, task)
      const key = JSON.stringify([item.state, item.reason])
      const known = alike.get(key)
      if (known === undefined) alike.set(key, item)
      else alike.set(key, { ...known, count: known.count + 1 })
    }
    const [last] = [...alike.keys()].slice(-1)
    const hidden = pending + blocked - own.length
    if (last !== undefined && hidden > 0) {
      const item = alike.get(last)!
      alike.set(last, { ...item, count: item.count + hidden })
    }
    items.push(...alike.values())
  }
  return items
}

function explained(parts: OperationParts, task: Task): ExplainedTask {
  const { leadership } = parts
  const base = { task: task.name, count: 1, state: task.state, rejected: [] }
  if (task.state === "finished") {
    const why = task.reason === undefined ? "" : `: ${task.reason}`
    return { ...base, reason: `${task.result ?? "finished"}${why}` }
  }
  if (task.state !== "pending" && task.state !== "blocked") {
    return { ...base, reason: runningOf(parts, task) }
  }
  const ref = { run: task.run, group: task.group, index: task.index }
  const found = leadership.scheduler.explain(ref, leadership.placing())
  const { notBefore } = task
  return {
    ...base,
    // Between two entries the scheduler may know nothing of it.
    reason: found?.waiting ?? "is about to be placed",
    ...(notBefore !== undefined && { notBefore }),
    rejected: (found?.rejected ?? [])
      .slice(0, rejectedMax)
      .map(({ node, reason }) => ({ node, reason })),
  }
}

function runningOf({ replica }: OperationParts, task: Task): string {
  const attempt = task.attempts.at(-1)!
  const name = readMember(replica.tables, attempt.node)?.name ?? `member ${attempt.node}`
  const tries = attempt.n > 1 ? `, attempt ${attempt.n}` : ""
  if (task.state === "stopping") return `is being stopped on ${name}${tries}`
  return `runs on ${name}${tries}`
}
