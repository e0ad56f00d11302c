/** What the tables must say of runs: at any index, and when everything is over. */
import {
  carriedCount,
  type Member,
  type Plan,
  type Run,
  type Task,
  type TaskGroup,
} from "../../../src/schema/index.ts"
import {
  groupKey,
  type GroupRow,
  memberPrefix,
  planKey,
  runPrefix,
  taskGroupPrefix,
} from "../../../src/state/index.ts"
import { InvariantError } from "../cluster/watch.ts"

type Rows = ReadonlyMap<string, string>

export interface RunRows {
  readonly run: Run
  readonly plan: Plan
  readonly groups: readonly {
    readonly definition: TaskGroup
    readonly row: GroupRow
    /** Those with rows of their own. */
    readonly tasks: readonly Task[]
  }[]
}

function under<T>(rows: Rows, prefix: string): T[] {
  const found: T[] = []
  for (const [key, value] of rows) if (key.startsWith(prefix)) found.push(JSON.parse(value) as T)
  return found
}

export function membersIn(rows: Rows): Member[] {
  return under<Member>(rows, memberPrefix)
}

export function runsIn(rows: Rows): RunRows[] {
  const tasks = new Map<string, Task[]>()
  for (const [key, value] of rows) {
    if (!key.startsWith("task/")) continue
    const task = JSON.parse(value) as Task
    const prefix = taskGroupPrefix(task.run, task.group)
    tasks.set(prefix, [...(tasks.get(prefix) ?? []), task])
  }
  return under<Run>(rows, runPrefix).map((run) => {
    const plan = JSON.parse(rows.get(planKey(run.id))!) as Plan
    const groups = plan.groups.map((definition) => ({
      definition,
      row: JSON.parse(rows.get(groupKey(run.id, definition.name))!) as GroupRow,
      tasks: tasks.get(taskGroupPrefix(run.id, definition.name)) ?? [],
    }))
    return { run, plan, groups }
  })
}

/** Holds at every index. */
export function checkRows(rows: Rows): void {
  const slots = new Map<number, number>()
  const members = membersIn(rows)
  for (const { run, groups } of runsIn(rows)) {
    for (const { definition, row, tasks } of groups) {
      recount(run, { definition, row, tasks })
      for (const task of tasks) {
        checkAttempts(task)
        const last = task.attempts.at(-1)
        const isLive = last !== undefined && last.state !== "ended"
        if (isLive !== (task.state === "active" || task.state === "stopping")) {
          throw new InvariantError(`${run.id}/${task.name} is ${task.state}: ${describe(task)}`)
        }
        if (!isLive || definition.work.driver !== "process") continue
        slots.set(last.node, (slots.get(last.node) ?? 0) + 1)
        const { cordon } = members.find(({ id }) => id === last.node) ?? {}
        if (cordon && last.assignedAt > cordon.at) {
          throw new InvariantError(`${cordon.mode}, and yet placed there: ${describe(task)}`)
        }
      }
    }
    if (run.state !== "finished") continue
    if (run.verdict === undefined) throw new InvariantError(`${run.id} ended without a verdict`)
    const open = groups.find(({ row }) => row.finished !== row.count)
    if (open) throw new InvariantError(`${run.id} has ended, ${open.row.name} has not`)
  }
  for (const member of members) {
    const taken = slots.get(member.id) ?? 0
    if (taken <= member.capacity) continue
    throw new InvariantError(`${member.name} has ${member.capacity} slots, ${taken} are given away`)
  }
}

/** The counters of a group's row against its tasks. */
function recount(run: Run, { definition, row, tasks }: RunRows["groups"][number]): void {
  const carried = carriedCount(definition)
  const untouched = row.count - tasks.length - carried
  const counts = {
    started: carried + tasks.filter(({ attempts }) => attempts.some((one) => one.startedAt)).length,
    ready: carried + tasks.filter(({ attempts }) => attempts.some((one) => one.readyAt)).length,
    succeeded: carried + tasks.filter(({ result }) => result === "succeeded").length,
    finished:
      carried +
      tasks.filter(({ state }) => state === "finished").length +
      (row.untouched === "finished" ? untouched : 0),
  }
  for (const mark of ["started", "ready", "succeeded", "finished"] as const) {
    if (row[mark] === counts[mark]) continue
    throw new InvariantError(
      `${run.id}/${row.name} counts ${row[mark]} ${mark}, its tasks say ${counts[mark]}`,
    )
  }
  const live = tasks.filter(({ state }) => state === "active" || state === "stopping").length
  if (definition.parallel !== undefined && live > definition.parallel) {
    throw new InvariantError(
      `${run.id}/${row.name} has ${live} at once, not ${definition.parallel}`,
    )
  }
}

function checkAttempts(task: Task): void {
  let fence = 0
  for (const [place, attempt] of task.attempts.entries()) {
    if (attempt.fence <= fence) throw new InvariantError(`fences go back: ${describe(task)}`)
    fence = attempt.fence
    if (attempt.state !== "ended" && place !== task.attempts.length - 1) {
      throw new InvariantError(`an older attempt lives: ${describe(task)}`)
    }
  }
}

export function describe(task: Task): string {
  const attempts = task.attempts.map(({ n, fence, node, state, ending }) => {
    return `${n} fence ${fence} on ${node} ${state} ${ending?.outcome ?? ""} ${ending?.exitCode ?? ""}`
  })
  return `${task.run}/${task.name} ${task.state} ${task.result ?? ""} (${task.reason ?? ""}): ${attempts.join("; ")}`
}
