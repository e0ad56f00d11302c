/** What people see of a run: its phases and its tasks, derived from the rows and never stored. */
import {
  carriedCount,
  type GroupView,
  isCarried,
  type Phase,
  type Plan,
  type Run,
  type RunView,
  type Task,
  type TaskGroup,
} from "../schema/index.ts"
import * as keys from "./keys.ts"
import * as read from "./read.ts"
import type { GroupRow, View } from "./types.ts"

type PhaseState = Phase["state"]

/** Groups of a phase with their rows and tasks. */
interface Cast {
  readonly rows: readonly GroupRow[]
  readonly tasks: readonly Task[]
}

const every = (rows: readonly GroupRow[], mark: "started" | "ready" | "finished"): boolean =>
  rows.every((row) => row[mark] === row.count)

/** How far a mark is that all tasks of the cast must reach. */
function towards(cast: Cast, mark: "started" | "ready"): PhaseState {
  const { rows, tasks } = cast
  if (every(rows, mark)) return "completed"
  const reached = mark === "started" ? "startedAt" : "readyAt"
  const lacks = (task: Task): boolean =>
    task.result !== "succeeded" && task.attempts.every((attempt) => attempt[reached] === undefined)
  const short = tasks.filter((task) => task.state === "finished" && lacks(task))
  if (short.some((task) => task.attempts.length > 0)) return "failed"
  if (short.length > 0) return "skipped"
  // A task is on its way to the mark once it is past the step before it.
  const isBegun = tasks.some(({ attempts }) =>
    mark === "started"
      ? attempts.length > 0
      : attempts.some((attempt) => attempt.startedAt !== undefined),
  )
  return isBegun ? "active" : "waiting"
}

/** Whole life of the cast: from the first assignment to the last end. */
function whole({ rows, tasks }: Cast): PhaseState {
  const begun = tasks.some((task) => task.attempts.length > 0 || task.result === "succeeded")
  if (!every(rows, "finished")) return begun ? "active" : "waiting"
  if (!begun) return "skipped"
  return tasks.every((task) => task.result === "succeeded") ? "completed" : "failed"
}

function afterReady(cast: Cast): PhaseState {
  const state = whole(cast)
  return state === "active" && !every(cast.rows, "ready") ? "waiting" : state
}

function stopping(cast: Cast): PhaseState {
  const state = whole(cast)
  if (state !== "active") return state
  return cast.tasks.some((task) => task.state === "stopping") ? "active" : "waiting"
}

/** A phase that no group is in by name: `X_ready`, `X_done` and `X_stop` show more of the groups in `X_start`. */
const suffixes: Readonly<Record<string, (cast: Cast) => PhaseState>> = {
  ready: (cast) => towards(cast, "ready"),
  done: afterReady,
  stop: stopping,
}

/** The plan's phases in order, each with its state. `init` is over when the run exists, `done` when it is finished. */
export function phasesOf(
  run: Run,
  plan: Plan,
  tasks: readonly Task[],
  groups: readonly GroupRow[],
): Phase[] {
  const castOf = (members: readonly TaskGroup[]): Cast => {
    const names = new Set(members.map((group) => group.name))
    return {
      rows: groups.filter((row) => names.has(row.name)),
      tasks: tasks.filter((task) => names.has(task.group)),
    }
  }
  const inPhase = (name: string): readonly TaskGroup[] =>
    plan.groups.filter((group) => group.phase === name)
  const finished = run.state === "finished"
  const stateOf = (name: string): PhaseState => {
    if (name === "init" || (name === "done" && finished)) return "completed"
    const own = inPhase(name)
    if (own.length > 0) {
      return name.endsWith("_start") ? towards(castOf(own), "started") : whole(castOf(own))
    }
    if (name === "done") return "waiting"
    const match = /^(.+)_(ready|done|stop)$/.exec(name)
    const base = match ? inPhase(`${match[1]}_start`) : []
    // A phase that this run has no work for.
    if (match === null || base.length === 0) return "skipped"
    return suffixes[match[2]!]!(castOf(base))
  }
  return plan.phases.map((name) => ({ name, state: stateOf(name) }))
}

/** Where the run is: the last phase that is going on, else the first that waits; `done` at the end. */
function currentPhase(run: Run, phases: readonly Phase[]): string {
  const last = phases.at(-1)?.name ?? "done"
  if (run.state === "finished") return last
  const active = phases.findLast((phase) => phase.state === "active")
  return (active ?? phases.find((phase) => phase.state === "waiting"))?.name ?? last
}

/** What REST shows of one run, by id; why tasks wait is the scheduler's word and added by the node. `some`: of a run
 *  with many tasks those that say most, so that neither view nor work grow with their number of members. */
export function viewOf(
  view: View,
  id: string,
  { tasks: wanted }: { readonly tasks: "all" | "some" } = { tasks: "all" },
): RunView | undefined {
  const run = read.readRun(view, id)
  const plan = read.readPlan(view, id)
  if (run === undefined || plan === undefined) return undefined
  const casts = plan.groups.flatMap((definition) => readCast(view, id, definition) ?? [])
  const spoken = casts.flatMap((cast) => [...cast.touched, ...cast.examples])
  const rows = casts.map(({ row }) => row)
  const phases = phasesOf(run, plan, spoken, rows)
  const total = rows.reduce((sum, { count }) => sum + count, 0)
  const isShort = wanted === "some" && total > tasksShownMax
  const tasks = isShort ? tellingOf(casts) : read.readTasks(view, id)
  return {
    ...run,
    phase: currentPhase(run, phases),
    phases,
    groups: casts.map((cast) => cast.counts),
    ...(plan.origin !== undefined && { origin: plan.origin }),
    ...(isShort && { omitted: total - tasks.length }),
    tasks: tasks.map((task) => {
      const last = task.attempts.at(-1)
      const node = last && read.readMember(view, last.node)?.name
      return { ...task, ...(node !== undefined && { node }) }
    }),
  }
}

/** Tasks of a view that leaves some out, and of each kind of them. */
const tasksShownMax = 200
const tasksOfKindMax = 50

/** One group as its rows have it. */
interface GroupCast {
  readonly row: GroupRow
  readonly counts: GroupView
  readonly touched: readonly Task[]
  /** One of the members without a row, one of those that are carried over. */
  readonly examples: readonly Task[]
}

function readCast(view: View, run: string, definition: TaskGroup): GroupCast | undefined {
  const row = read.readGroup(view, run, definition.name)
  if (row === undefined) return undefined
  const prefix = keys.taskGroupPrefix(run, definition.name)
  const touched = Array.from(view.range(prefix), ([, task]) => task as Task)
  const carried = carriedCount(definition)
  const untouched = row.count - carried - touched.length
  const counts: GroupView = {
    name: definition.name,
    count: row.count,
    role: definition.role,
    blocked: 0,
    pending: 0,
    active: 0,
    stopping: 0,
    succeeded: carried,
    failed: 0,
    skipped: 0,
    lost: 0,
    cancelled: 0,
    timed_out: 0,
  }
  for (const task of touched) counts[standingOf(task)]++
  const examples: Task[] = []
  if (carried > 0) examples.push(read.untouchedTask(row, definition.carried![0]!, definition))
  if (untouched > 0) {
    const example = read.untouchedTask(row, firstUntouched(touched, definition), definition)
    counts[standingOf(example)] += untouched
    examples.push(example)
  }
  return { row, counts, touched, examples }
}

function standingOf(task: Task): Exclude<keyof GroupView, "name" | "count" | "role"> {
  return task.state === "finished" ? (task.result ?? "skipped") : task.state
}

/** Rows come in the order of their indexes. */
function firstUntouched(touched: readonly Task[], definition: TaskGroup): number {
  let index = 0
  for (const task of touched) {
    while (index < task.index && isCarried(definition, index)) index++
    if (index < task.index) return index
    index = task.index + 1
  }
  while (isCarried(definition, index)) index++
  return index
}

/** What went wrong first, then what goes on, then what waits; in the order of the plan. */
function tellingOf(casts: readonly GroupCast[]): readonly Task[] {
  const kinds: readonly ((task: Task) => boolean)[] = [
    ({ result }) => result === "failed" || result === "lost" || result === "timed_out",
    ({ state }) => state === "active" || state === "stopping",
    ({ state }) => state === "pending" || state === "blocked",
  ]
  return casts.flatMap(({ touched, examples }) => {
    if (touched.length <= tasksOfKindMax / 5) return [...touched, ...examples].toSorted(byIndex)
    const found = kinds.flatMap((isOfKind) => touched.filter(isOfKind).slice(0, tasksOfKindMax))
    return [...found, ...examples].toSorted(byIndex)
  })
}

const byIndex = (a: Task, b: Task): number => a.index - b.index
