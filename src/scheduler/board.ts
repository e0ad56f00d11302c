/** The scheduler's indexes: unfinished runs, what of them is pending, what runs where. All follows from the rows. */
import {
  carriedCount,
  isCarried,
  type Member,
  type Plan,
  type Run,
  type Task,
  type TaskGroup,
} from "../schema/index.ts"
import {
  type GroupRow,
  groupPrefix,
  liveAttempt,
  memberPrefix,
  parseKey,
  planKey,
  runKey,
  runPrefix,
  type Session,
  sessionPrefix,
  taskKey,
  taskPrefix,
  type TaskRef,
  untouchedTask,
  type View,
  type Write,
} from "../state/index.ts"
import { lossPatienceUsual } from "./timers.ts"
import type { LossPatience } from "./types.ts"

/** One group of an unfinished run. */
export class GroupBoard {
  readonly definition: TaskGroup
  row: GroupRow | undefined
  readonly tasks = new Map<number, Task>()
  /** Members that meet its needs and are up: kept by fit.ts for as long as the board's `nodesVersion` stays. */
  eligible: { readonly version: number; readonly members: readonly Member[] } | undefined
  /** Tasks with a row that wait for a node. */
  readonly waiting = new Set<number>()
  /** No index below this one is without a row. */
  #cursor = 0

  readonly #carried: number

  constructor(definition: TaskGroup) {
    this.definition = definition
    this.#carried = carriedCount(definition)
  }

  #isCarried(index: number): boolean {
    return this.#carried > 0 && isCarried(this.definition, index)
  }

  get hasPending(): boolean {
    return this.waiting.size > 0 || this.#hasUntouched()
  }

  #hasUntouched(): boolean {
    return this.row?.untouched === "pending" && this.hasUntouched
  }

  /** Members that have no row and are not carried over. */
  get hasUntouched(): boolean {
    return this.tasks.size + this.#carried < this.definition.count
  }

  /** Indexes of pending tasks, lowest first. */
  *pending(): Generator<number> {
    const waiting = [...this.waiting].toSorted((a, b) => a - b)
    if (!this.#hasUntouched()) {
      yield* waiting
      return
    }
    while (this.tasks.has(this.#cursor) || this.#isCarried(this.#cursor)) this.#cursor++
    const below = waiting.filter((index) => index < this.#cursor)
    yield* below
    for (let index = this.#cursor; index < this.definition.count; index++) {
      if (this.tasks.has(index) ? this.waiting.has(index) : !this.#isCarried(index)) yield index
    }
  }

  task(index: number): Task | undefined {
    const known = this.tasks.get(index)
    if (known !== undefined || this.row === undefined) return known
    const exists = Number.isInteger(index) && index >= 0 && index < this.definition.count
    return exists ? untouchedTask(this.row, index, this.definition) : undefined
  }
}

export class RunBoard {
  readonly plan: Plan
  /** Sorts runs by their entry, then by their place in it. */
  readonly age: number
  run: Run | undefined
  /** In the order of the plan. */
  readonly groups = new Map<string, GroupBoard>()

  constructor(id: string, plan: Plan) {
    const [index = 0, item = 0] = id.slice(2).split(".").map(Number)
    this.age = index * 1024 + item
    this.plan = plan
    for (const group of plan.groups) this.groups.set(group.name, new GroupBoard(group))
  }

  /** The node of the newest attempt of a group's first member: where `with` wants to be. */
  anchor(group: string): number | undefined {
    return this.groups.get(group)?.tasks.get(0)?.attempts.at(-1)?.node
  }

  /** Bytes of this run's outputs by the node that made them. */
  outputBytes(): ReadonlyMap<number, number> {
    const bytes = new Map<number, number>()
    for (const group of this.groups.values()) {
      for (const task of group.tasks.values()) {
        const node = task.attempts.at(-1)?.node
        if (node === undefined || task.outputs.length === 0) continue
        const sum = task.outputs.reduce((total, output) => total + output.bytes, 0)
        bytes.set(node, (bytes.get(node) ?? 0) + sum)
      }
    }
    return bytes
  }
}

export interface LiveTask {
  readonly ref: TaskRef
  /** Builtin work takes no slot. */
  readonly slot: boolean
}

export class Board {
  readonly members = new Map<number, Member>()
  readonly sessions = new Map<number, Session>()
  readonly runs = new Map<string, RunBoard>()
  /** Runs with a group that has pending tasks. */
  readonly pendingRuns = new Set<string>()
  /** Runs whose timed decisions must be worked out again. */
  readonly dirty = new Set<string>()
  lossPatience: LossPatience = lossPatienceUsual
  /** Counts changes of members and sessions. */
  nodesVersion = 0
  readonly #live = new Map<number, Map<string, LiveTask>>()

  reset(view: View): void {
    this.members.clear()
    this.sessions.clear()
    this.runs.clear()
    this.pendingRuns.clear()
    this.dirty.clear()
    this.#live.clear()
    const feed = (key: string, value: unknown): void => this.#row(key, value)
    for (const prefix of [memberPrefix, sessionPrefix]) {
      for (const [key, value] of view.range(prefix)) feed(key, value)
    }
    for (const [, value] of view.range(runPrefix)) {
      const run = value as Run
      if (run.state === "finished") continue
      feed(planKey(run.id), view.get(planKey(run.id)))
      feed(runKey(run.id), run)
      for (const prefix of [groupPrefix(run.id), taskPrefix(run.id)]) {
        for (const [key, row] of view.range(prefix)) feed(key, row)
      }
    }
  }

  observe(writes: readonly Write[]): void {
    for (const { key, value } of writes) this.#row(key, value)
  }

  /** Live attempts on a node, and how many of them take a slot. */
  on(node: number): ReadonlyMap<string, LiveTask> {
    return this.#live.get(node) ?? new Map<string, LiveTask>()
  }

  slotsTaken(node: number): number {
    let taken = 0
    for (const { slot } of this.on(node).values()) if (slot) taken++
    return taken
  }

  #row(key: string, value: unknown): void {
    const parsed = parseKey(key)
    switch (parsed?.table) {
      case "member":
        if (value === undefined) this.members.delete(parsed.id)
        else this.members.set(parsed.id, value as Member)
        this.#touchNode(parsed.id)
        return
      case "session":
        if (value === undefined) this.sessions.delete(parsed.id)
        else this.sessions.set(parsed.id, value as Session)
        this.#touchNode(parsed.id)
        return
      case "plan":
        this.#planRow(parsed.run, value as Plan | undefined)
        return
      case "run":
        this.#runRow(parsed.run, value as Run | undefined)
        return
      case "group":
        this.#groupRow(parsed.run, parsed.group, value as GroupRow | undefined)
        return
      case "task":
        this.#taskRow(parsed.task, value as Task | undefined)
        return
      case "event":
      case "waste":
      case "checkpoint":
      case "cluster":
      case "label":
      case "key":
      case undefined:
    }
  }

  /** A node's state is part of the timed decisions of what runs there and of what waits. */
  #touchNode(node: number): void {
    this.nodesVersion++
    for (const { ref } of this.on(node).values()) this.dirty.add(ref.run)
    for (const run of this.pendingRuns) this.dirty.add(run)
  }

  #planRow(run: string, plan: Plan | undefined): void {
    if (plan === undefined) this.#drop(run)
    else if (!this.runs.has(run)) this.runs.set(run, new RunBoard(run, plan))
  }

  #runRow(id: string, run: Run | undefined): void {
    const board = this.runs.get(id)
    if (board === undefined) return
    if (run === undefined || run.state === "finished") {
      this.#drop(id)
      return
    }
    board.run = run
    this.dirty.add(id)
  }

  #drop(run: string): void {
    for (const group of this.runs.get(run)?.groups.values() ?? []) {
      for (const task of group.tasks.values()) this.#unlive(task)
    }
    this.runs.delete(run)
    this.pendingRuns.delete(run)
    // Its timers are taken out at the next look.
    this.dirty.add(run)
  }

  #groupRow(run: string, name: string, row: GroupRow | undefined): void {
    const board = this.runs.get(run)
    const group = board?.groups.get(name)
    if (board === undefined || group === undefined) return
    group.row = row
    this.#looked(run, board)
  }

  #taskRow(ref: TaskRef, task: Task | undefined): void {
    const board = this.runs.get(ref.run)
    const group = board?.groups.get(ref.group)
    if (board === undefined || group === undefined) return
    const before = group.tasks.get(ref.index)
    if (before !== undefined) this.#unlive(before)
    group.waiting.delete(ref.index)
    if (task === undefined) group.tasks.delete(ref.index)
    else {
      group.tasks.set(ref.index, task)
      if (task.state === "pending") group.waiting.add(ref.index)
      const attempt = liveAttempt(task)
      if (attempt !== undefined) {
        const slot = group.definition.work.driver !== "builtin"
        const tasks = this.#live.get(attempt.node) ?? new Map<string, LiveTask>()
        this.#live.set(attempt.node, tasks.set(taskKey(ref), { ref, slot }))
      }
    }
    this.#looked(ref.run, board)
  }

  #unlive(task: Task): void {
    const attempt = liveAttempt(task)
    if (attempt !== undefined) this.#live.get(attempt.node)?.delete(taskKey(task))
  }

  #looked(run: string, board: RunBoard): void {
    this.dirty.add(run)
    const pending = [...board.groups.values()].some((group) => group.hasPending)
    if (pending) this.pendingRuns.add(run)
    else this.pendingRuns.delete(run)
  }
}
