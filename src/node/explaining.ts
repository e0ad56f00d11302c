/** Why tasks wait, for people: what waits alike is said once. */
import {
  type ExplainedTask,
  type ExplainView,
  type Task,
  type TaskGroup,
  TroupeError,
} from "../schema/index.ts"
import { readMember, readPlan, readTask, taskRefOf, type View } from "../state/index.ts"
import type { CallOptions } from "./context.ts"
import { groupOf } from "./launch.ts"
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

/** Of the tasks that the view lists, those that wait, if only for a node that is away; those that it leaves out wait like
 *  the ones of their group. */
function waitingOf(
  parts: OperationParts,
  tasks: readonly Task[],
  groups: ExplainView["groups"],
): ExplainedTask[] {
  const items: ExplainedTask[] = []
  for (const { name, pending, blocked } of groups) {
    const all = tasks.filter(({ group }) => group === name)
    const own = all.filter(({ state }) => state === "pending" || state === "blocked")
    const alike = together(parts, own)
    const [last] = [...alike.keys()].slice(-1)
    const hidden = pending + blocked - own.length
    if (last !== undefined && hidden > 0) {
      const item = alike.get(last)!
      alike.set(last, { ...item, count: item.count + hidden })
    }
    const away = all.filter((task) => silenceOf(parts, task) !== undefined)
    items.push(...alike.values(), ...together(parts, away).values())
  }
  return items
}

/** What is said of several alike once. */
function together(parts: OperationParts, tasks: readonly Task[]): Map<string, ExplainedTask> {
  const alike = new Map<string, ExplainedTask>()
  for (const task of tasks) {
    const item = explained(parts, task)
    const key = JSON.stringify([item.state, item.reason])
    const known = alike.get(key)
    if (known === undefined) alike.set(key, item)
    else alike.set(key, { ...known, count: known.count + 1 })
  }
  return alike
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

function runningOf(parts: OperationParts, task: Task): string {
  const attempt = task.attempts.at(-1)!
  const { tables } = parts.replica
  const name = readMember(tables, attempt.node)?.name ?? `member ${attempt.node}`
  const tries = attempt.n > 1 ? `, attempt ${attempt.n}` : ""
  const silentMs = silenceOf(parts, task)
  const isStopping = task.state === "stopping"
  if (silentMs === undefined) {
    return isStopping ? `is being stopped on ${name}${tries}` : `runs on ${name}${tries}`
  }
  const since = `${name}, which has not answered for ${Math.round(silentMs / 1000)} s${tries}`
  const plan = readPlan(tables, task.run)
  const onLoss = (plan && groupOf(plan, task.group)?.onLoss) ?? "wait"
  return isStopping
    ? `is to be stopped on ${since}; it is given up if the node stays away`
    : `was started on ${since}; ${whatThen[onLoss](name)}`
}

const whatThen = {
  wait: (name) =>
    `its result is waited for: 'troupe cluster declare-dead ${name}' gives it up, and it runs again`,
  fail: () => "it is lost if the node stays away",
  requeue: () => "it is started elsewhere if the node stays away",
} as const satisfies Record<TaskGroup["onLoss"], (name: string) => string>

/** Of a task whose live attempt is on a node that does not answer: for how long, ms. */
function silenceOf({ leadership }: OperationParts, task: Task): number | undefined {
  if (task.state !== "active" && task.state !== "stopping") return undefined
  const silentMs = leadership.silentMs(task.attempts.at(-1)!.node)
  return silentMs > 0 ? silentMs : undefined
}
