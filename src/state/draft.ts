/** What one entry changes: rows read once, changed in memory, written out at its end. */
import {
  carriedCount,
  type Member,
  type Plan,
  type Run,
  type RunEvent,
  type Task,
  type TaskGroup,
} from "../schema/index.ts"
import { liveAttempt } from "./live.ts"
import * as keys from "./keys.ts"
import { readCluster, readGroup, runEventsMax, untouchedTask } from "./read.ts"
import type {
  AppliedEntry,
  ClusterRow,
  GroupRow,
  Session,
  StateEvent,
  TaskRef,
  View,
  Write,
} from "./types.ts"

/** All rows outside of runs, and the runs that the entry names. */
export class Draft {
  readonly index: number
  /** State time: never goes back, whatever the leaders' clocks say. */
  readonly time: number
  readonly caused: StateEvent[] = []
  readonly #view: View
  readonly #changed = new Map<string, unknown>()
  readonly #runs = new Map<string, RunDraft>()

  constructor(view: View, entry: AppliedEntry) {
    this.#view = view
    this.index = entry.index
    this.time = Math.max(readCluster(view)?.time ?? 0, entry.at)
  }

  get(key: string): unknown {
    return this.#changed.has(key) ? this.#changed.get(key) : this.#view.get(key)
  }

  put(key: string, value: unknown): void {
    this.#changed.set(key, value)
  }

  /** The rows as they were before this entry. */
  get before(): View {
    return this.#view
  }

  get cluster(): ClusterRow | undefined {
    return this.get(keys.clusterKey) as ClusterRow | undefined
  }

  /** Members in the order of ids; of those that this entry adds, too. */
  members(): readonly Member[] {
    const members = new Map<string, Member>()
    for (const [key, row] of this.#view.range(keys.memberPrefix)) members.set(key, row as Member)
    for (const [key, row] of this.#changed) {
      if (key.startsWith(keys.memberPrefix)) members.set(key, row as Member)
    }
    return [...members.values()]
  }

  member(id: number): Member | undefined {
    return this.get(keys.memberKey(id)) as Member | undefined
  }

  session(node: number): Session | undefined {
    return this.get(keys.sessionKey(node)) as Session | undefined
  }

  /** Whether a run was accepted by a later entry than this index. */
  hasRunAfter(index: number): boolean {
    for (const [key] of this.#view.rangeDown(keys.runPrefix)) return key >= keys.runsAfter(index)
    return false
  }

  /** Of entries and rows, before this entry. */
  get version(): number {
    return this.cluster?.version ?? 1
  }

  /** The run's own row, however the run stands. */
  runRow(id: string): Run | undefined {
    return this.#runs.get(id)?.run ?? (this.get(keys.runKey(id)) as Run | undefined)
  }

  /** Nothing but a pin changes a finished run, so its other rows need not be at hand (they may be on disk only). */
  isFinished(id: string): boolean {
    return this.runRow(id)?.state === "finished"
  }

  /** A run that is not finished. */
  run(id: string): RunDraft | undefined {
    const known = this.#runs.get(id)
    if (known !== undefined) return known
    const run = this.#view.get(keys.runKey(id)) as Run | undefined
    if (run?.state === "finished") return undefined
    const plan = this.#view.get(keys.planKey(id)) as Plan | undefined
    if (run === undefined || plan === undefined) return undefined
    return this.#add(new RunDraft(this, this.#view, { run, plan }))
  }

  addRun(run: Run, plan: Plan): RunDraft {
    this.put(keys.planKey(run.id), plan)
    return this.#add(new RunDraft(this, this.#view, { run, plan }))
  }

  #add(draft: RunDraft): RunDraft {
    this.#runs.set(draft.run.id, draft)
    return draft
  }

  /** Every changed row once. The cluster row carries the state time when that moved. */
  finish(): { readonly writes: readonly Write[]; readonly events: readonly StateEvent[] } {
    const cluster = this.cluster
    if (cluster !== undefined && cluster.time !== this.time) {
      this.put(keys.clusterKey, { ...cluster, time: this.time })
    }
    const writes: Write[] = []
    for (const [key, value] of this.#changed) writes.push({ key, value })
    for (const run of this.#runs.values()) {
      if (run.finish(writes)) this.caused.push({ type: "run-changed", run: run.run.id })
    }
    return { writes, events: this.caused }
  }
}

type EventDetail = Partial<Pick<RunEvent, "task" | "attempt" | "node" | "message">>

/** One run while an entry changes it. Counters of group rows follow from the tasks that are set. */
export class RunDraft {
  readonly plan: Plan
  readonly time: number
  readonly #draft: Draft
  readonly #view: View
  readonly #before: Run
  #run: Run
  readonly #groups = new Map<string, GroupRow>()
  readonly #groupsBefore = new Map<string, GroupRow>()
  readonly #definitions = new Map<string, TaskGroup>()
  readonly #tasks = new Map<string, Task>()
  readonly #events: RunEvent[] = []
  /** A counter or an untouched state changed: edges and the outcome must be looked at again. */
  moved = false

  constructor(draft: Draft, view: View, rows: { readonly run: Run; readonly plan: Plan }) {
    this.#draft = draft
    this.#view = view
    this.#before = rows.run
    this.#run = rows.run
    this.plan = rows.plan
    this.time = draft.time
    for (const group of rows.plan.groups) {
      this.#definitions.set(group.name, group)
      const row = readGroup(view, rows.run.id, group.name)
      if (row === undefined) continue
      this.#groups.set(group.name, row)
      this.#groupsBefore.set(group.name, row)
    }
  }

  get run(): Run {
    return this.#run
  }

  change(fields: Partial<Run>): void {
    this.#run = { ...this.#run, ...fields }
  }

  replace(run: Run): void {
    this.#run = run
  }

  definition(name: string): TaskGroup | undefined {
    return this.#definitions.get(name)
  }

  /** Present for every group of the plan. */
  group(name: string): GroupRow {
    return this.#groups.get(name)!
  }

  setGroup(row: GroupRow): void {
    this.#groups.set(row.name, row)
    this.moved = true
  }

  task(group: string, index: number): Task | undefined {
    const row = this.#groups.get(group)
    if (row === undefined || !Number.isInteger(index) || index < 0 || index >= row.count) {
      return undefined
    }
    const key = keys.taskKey({ run: this.#run.id, group, index })
    return (
      this.#tasks.get(key) ??
      (this.#view.get(key) as Task | undefined) ??
      untouchedTask(row, index, this.#definitions.get(group)!)
    )
  }

  /** Members that the group's row speaks for: without a row of their own, and not carried over. */
  untouched(group: string): number {
    const definition = this.#definitions.get(group)!
    return definition.count - carriedCount(definition) - this.touched(group).length
  }

  /** The tasks of a group that have rows, in order. */
  touched(group: string): readonly Task[] {
    const prefix = keys.taskGroupPrefix(this.#run.id, group)
    const tasks = new Map<number, Task>()
    for (const [, row] of this.#view.range(prefix)) tasks.set((row as Task).index, row as Task)
    for (const task of this.#tasks.values()) if (task.group === group) tasks.set(task.index, task)
    return [...tasks.values()].toSorted((a, b) => a.index - b.index)
  }

  setTask(task: Task): void {
    const before = this.task(task.group, task.index)!
    const group = this.group(task.group)
    const marks = marksOf(task)
    const old = marksOf(before)
    this.#tasks.set(keys.taskKey(task), task)
    const isCounted = this.#definitions.get(task.group)?.parallel !== undefined
    const live = (group.live ?? 0) + aliveOf(task) - aliveOf(before)
    const next: GroupRow = {
      ...group,
      ...(isCounted && { live }),
      started: group.started + marks.started - old.started,
      ready: group.ready + marks.ready - old.ready,
      succeeded: group.succeeded + marks.succeeded - old.succeeded,
      finished: group.finished + marks.finished - old.finished,
    }
    const same =
      next.started === group.started &&
      next.ready === group.ready &&
      next.succeeded === group.succeeded &&
      next.finished === group.finished
    if (!same) this.setGroup(next)
    // No edge stands on it.
    else if (isCounted && next.live !== group.live) this.#groups.set(next.name, next)
  }

  event(type: RunEvent["type"], detail: EventDetail = {}): void {
    const n = this.#run.events + this.#events.length + 1
    this.#events.push({ id: `${this.#draft.index}-${n}`, at: this.time, type, ...detail })
  }

  /** Of entries and rows, before this entry. */
  get version(): number {
    return this.#draft.version
  }

  cause(event: StateEvent): void {
    this.#draft.caused.push(event)
  }

  nodeName(id: number): string {
    return this.#draft.member(id)?.name ?? `member ${id}`
  }

  /** Adds its writes; false when nothing changed. */
  finish(writes: Write[]): boolean {
    const start = writes.length
    const first = this.#run.events + 1
    if (this.#events.length > 0) {
      this.#run = { ...this.#run, events: this.#run.events + this.#events.length }
    }
    const id = this.#run.id
    if (this.#run !== this.#before || this.#view.get(keys.runKey(id)) === undefined) {
      writes.push({ key: keys.runKey(id), value: this.#run })
    }
    for (const [name, row] of this.#groups) {
      if (row !== this.#groupsBefore.get(name)) {
        writes.push({ key: keys.groupKey(id, name), value: row })
      }
    }
    for (const [key, task] of this.#tasks) writes.push({ key, value: task })
    for (const [place, event] of this.#events.entries()) {
      const n = first + place
      // More than a whole table in one entry: what would be dropped at once is never written.
      if (n > this.#run.events - runEventsMax) {
        writes.push({ key: keys.eventKey(id, n), value: event })
      }
    }
    const oldest = Math.max(1, first - runEventsMax)
    for (let n = oldest; n <= Math.min(first - 1, this.#run.events - runEventsMax); n++) {
      writes.push({ key: keys.eventKey(id, n), value: undefined })
    }
    return writes.length > start
  }
}

type Mark = 0 | 1
const mark = (reached: boolean): Mark => (reached ? 1 : 0)

const aliveOf = (task: Task): Mark => mark(liveAttempt(task) !== undefined)

/** What a task adds to the counters of its group. Marks of an earlier attempt stay. */
function marksOf(task: Task): Record<"started" | "ready" | "succeeded" | "finished", Mark> {
  const isKept = task.attempts.length === 0 && task.result === "succeeded"
  return {
    started: mark(isKept || task.attempts.some((attempt) => attempt.startedAt !== undefined)),
    ready: mark(isKept || task.attempts.some((attempt) => attempt.readyAt !== undefined)),
    succeeded: mark(task.result === "succeeded"),
    finished: mark(task.state === "finished"),
  }
}

/** The task's place in commands. */
export function refOf(task: Task): TaskRef {
  return { run: task.run, group: task.group, index: task.index }
}
