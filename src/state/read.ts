/** Typed readers of the tables. */
import {
  isCarried,
  type Member,
  type Plan,
  type Run,
  type RunEvent,
  type Task,
  type TaskGroup,
  taskName,
} from "../schema/index.ts"
import * as keys from "./keys.ts"
import type {
  ClusterRow,
  GroupRow,
  RemovedRow,
  Session,
  TableRows,
  TaskRef,
  View,
} from "./types.ts"

/** Events kept of one run. */
export const runEventsMax = 10_000

export function readCluster(view: View): ClusterRow | undefined {
  return view.get(keys.clusterKey) as ClusterRow | undefined
}

/** In the order of their ids. */
export function readMembers(view: View): readonly Member[] {
  return Array.from(view.range(keys.memberPrefix), ([, row]) => row as Member)
}

export function readMember(view: View, id: number): Member | undefined {
  return view.get(keys.memberKey(id)) as Member | undefined
}

export function readSession(view: View, node: number): Session | undefined {
  return view.get(keys.sessionKey(node)) as Session | undefined
}

/** Why this peer was removed, if it was. */
export function readRemoved(view: View, peerId: string): RemovedRow | undefined {
  return view.get(keys.removedKey(peerId)) as RemovedRow | undefined
}

export function readRun(view: View, run: string): Run | undefined {
  return view.get(keys.runKey(run)) as Run | undefined
}

export function readPlan(view: View, run: string): Plan | undefined {
  return view.get(keys.planKey(run)) as Plan | undefined
}

export function readGroup(view: View, run: string, group: string): GroupRow | undefined {
  return view.get(keys.groupKey(run, group)) as GroupRow | undefined
}

/** In the order of the plan. */
export function readGroups(view: View, run: string): readonly GroupRow[] {
  const plan = readPlan(view, run)
  if (plan === undefined) return []
  return plan.groups.flatMap((group) => readGroup(view, run, group.name) ?? [])
}

/** The task as its group's row says it is while it has no row of its own. */
export function untouchedTask(
  group: GroupRow,
  index: number,
  definition: Pick<TaskGroup, "carried">,
): Task {
  const own = { run: group.run, group: group.name, index, name: taskName(group, index) }
  if (isCarried(definition, index)) {
    return { ...own, state: "finished", result: "succeeded", attempts: [], outputs: [] }
  }
  return {
    ...own,
    state: group.untouched,
    ...(group.untouchedResult !== undefined && { result: group.untouchedResult }),
    ...(group.untouchedReason !== undefined && { reason: group.untouchedReason }),
    attempts: [],
    outputs: [],
  }
}

/** undefined: there is no such run, group or member. */
export function readTask(view: View, task: TaskRef): Task | undefined {
  const row = view.get(keys.taskKey(task)) as Task | undefined
  if (row !== undefined) return row
  const group = readGroup(view, task.run, task.group)
  const definition = readPlan(view, task.run)?.groups.find(({ name }) => name === task.group)
  if (group === undefined || definition === undefined) return undefined
  const exists = Number.isInteger(task.index) && task.index >= 0 && task.index < group.count
  return exists ? untouchedTask(group, task.index, definition) : undefined
}

/** Every task of the run, in the order of the plan; those without a row as their group's row says. */
export function readTasks(view: View, run: string): readonly Task[] {
  const plan = readPlan(view, run)
  return (plan?.groups ?? []).flatMap((definition) => {
    const group = readGroup(view, run, definition.name)
    if (group === undefined) return []
    const tasks = Array.from({ length: group.count }, (_, index) =>
      untouchedTask(group, index, definition),
    )
    for (const [, row] of view.range(keys.taskGroupPrefix(run, group.name))) {
      tasks[(row as Task).index] = row as Task
    }
    return tasks
  })
}

/** Only the tasks that have a row: those with attempts, and those that ended on their own. */
export function readTouchedTasks(view: View, run: string): readonly Task[] {
  return Array.from(view.range(keys.taskPrefix(run)), ([, row]) => row as Task)
}

/** By id (`r-12`) or label. */
export function findRun(view: View, idOrLabel: string): Run | undefined {
  const byId = readRun(view, idOrLabel)
  if (byId !== undefined) return byId
  const label = view.get(keys.labelKey(idOrLabel)) as TableRows["label"] | undefined
  return label === undefined ? undefined : readRun(view, label.run)
}

export interface RunQuery {
  readonly state?: string | undefined
  readonly limit: number
  /** The id of the last run of the page before: only older ones follow. */
  readonly after?: string | undefined
}

/** Runs that one page looks at: about 2 ms. */
const lookedAtMax = 5000

/** Newest first. `next` is what to ask `after` for the page that follows; a page may be short where few match. */
export function listRuns(
  view: View,
  query: RunQuery,
): { readonly runs: readonly Run[]; readonly next: string | undefined } {
  const before = query.after === undefined ? undefined : keys.runKey(query.after)
  const runs: Run[] = []
  let lookedAt = 0
  let last: string | undefined
  for (const [, value] of view.rangeDown(keys.runPrefix, before)) {
    const run = value as Run
    if (runs.length === query.limit || lookedAt === lookedAtMax) return { runs, next: last }
    lookedAt++
    last = run.id
    if (query.state !== undefined && run.state !== query.state && run.verdict !== query.state) {
      continue
    }
    runs.push(run)
  }
  return { runs, next: undefined }
}

export interface EventPageRows {
  readonly events: readonly RunEvent[]
  /** The id to ask after next time; undefined when there was no event yet. */
  readonly last: string | undefined
  /** `after` is no longer in the table (or never was): show the whole run, then go on from `last`. */
  readonly reset: boolean
  /** The run is finished, and this page reaches its last event. */
  readonly ended: boolean
}

/** Events after the one with id `after`, at most `limit`; from the oldest kept when `after` is undefined. */
export function readEvents(
  view: View,
  run: string,
  query: { readonly after: string | undefined; readonly limit: number },
): EventPageRows {
  const row = readRun(view, run)
  const total = row?.events ?? 0
  const oldest = Math.max(1, total - runEventsMax + 1)
  const idAt = (n: number): string | undefined =>
    (view.get(keys.eventKey(run, n)) as RunEvent | undefined)?.id
  let from = oldest
  if (query.after !== undefined) {
    const n = Number(/^\d+-(\d+)$/.exec(query.after)?.[1] ?? Number.NaN)
    // The event itself must still be there, else what followed it may be gone too.
    if (!(n >= oldest && n <= total) || idAt(n) !== query.after) {
      return { events: [], last: idAt(total), reset: true, ended: false }
    }
    from = n + 1
  }
  const events: RunEvent[] = []
  const to = Math.min(total, from + query.limit - 1)
  for (let n = from; n <= to; n++) events.push(view.get(keys.eventKey(run, n)) as RunEvent)
  return {
    events,
    last: events.at(-1)?.id ?? query.after,
    reset: false,
    ended: row?.state === "finished" && to >= total,
  }
}
