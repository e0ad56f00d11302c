/** The runs that are not finished, with what of their groups is pending, alive or done. All follows from the rows. */
import {
  carriedCount,
  isCarried,
  type Plan,
  type Run,
  type Task,
  type TaskGroup,
} from "../schema/index.ts"
import { type GroupRow, liveAttempt, untouchedTask } from "../state/index.ts"
import { type Ask, askOf, takesPlace } from "./ask.ts"
import { LowestFirst } from "./heap.ts"
import type { NodeBoard } from "./node-board.ts"

/** A placement that is under way. */
export interface Claim {
  readonly node: NodeBoard
  readonly group: GroupBoard
  readonly index: number
  /** Neither applied nor refused. */
  isOpen: boolean
}

/** One group of an unfinished run. */
export class GroupBoard {
  readonly run: RunBoard
  readonly definition: TaskGroup
  /** Place in the plan. */
  readonly position: number
  readonly ask: Ask
  readonly takesPlace: boolean
  row: GroupRow | undefined
  readonly tasks = new Map<number, Task>()
  /** Members whose next try is not yet due. */
  readonly resting = new Set<number>()
  readonly claims = new Map<number, Claim>()
  /** Attempts that live, without placements under way. */
  live = 0
  /** Rows of tasks that are pending, and of those that were not told to end for good. */
  pendingRows = 0
  openRows = 0
  /** Latest times of its members, for edges and patience. State time, ms; 0: none yet. */
  startedAt = 0
  readyAt = 0
  endedAt = 0
  assignedAt = 0
  readonly #carried: number
  /** Pending members with a row, and those below the cursor; some may be so no more. */
  readonly #low = new LowestFirst()
  /** Below it, no member is untouched and unclaimed but those in `#low`. */
  #cursor = 0

  constructor(run: RunBoard, definition: TaskGroup, position: number) {
    this.run = run
    this.definition = definition
    this.position = position
    this.ask = askOf(definition)
    this.takesPlace = takesPlace(definition)
    this.#carried = carriedCount(definition)
  }

  /** Members that have no row and are not carried over. */
  get untouched(): number {
    return this.definition.count - this.#carried - this.tasks.size
  }

  /** Members that wait for a node, whether or not one was proposed. */
  get pending(): number {
    return this.pendingRows + (this.row?.untouched === "pending" ? this.untouched : 0)
  }

  /** Pending members that may be placed now, but for the group's own limit. */
  get available(): number {
    return this.pending - this.resting.size - this.claims.size
  }

  get isFull(): boolean {
    const { parallel } = this.definition
    return parallel !== undefined && this.live + this.claims.size >= parallel
  }

  /** Whether there is something of it that waits or runs and was not told to stop. */
  get hasWork(): boolean {
    if (this.row === undefined) return false
    return this.openRows > 0 || (this.row.untouched !== "finished" && this.untouched > 0)
  }

  task(index: number): Task | undefined {
    const known = this.tasks.get(index)
    if (known !== undefined || this.row === undefined) return known
    const exists = Number.isInteger(index) && index >= 0 && index < this.definition.count
    return exists ? untouchedTask(this.row, index, this.definition) : undefined
  }

  /** The lowest index that may be placed. */
  next(): number | undefined {
    let low = this.#low.first()
    while (low !== undefined && !this.#isAvailable(low)) {
      this.#low.drop()
      low = this.#low.first()
    }
    const untouched = this.#nextUntouched()
    if (low === undefined || untouched === undefined) return low ?? untouched
    return Math.min(low, untouched)
  }

  #nextUntouched(): number | undefined {
    if (this.row?.untouched !== "pending") return undefined
    const { count } = this.definition
    while (this.#cursor < count && !this.#isFree(this.#cursor)) this.#cursor++
    return this.#cursor < count ? this.#cursor : undefined
  }

  isCarried(index: number): boolean {
    return this.#carried > 0 && isCarried(this.definition, index)
  }

  #isFree(index: number): boolean {
    return !this.tasks.has(index) && !this.claims.has(index) && !this.isCarried(index)
  }

  #isAvailable(index: number): boolean {
    if (this.claims.has(index) || this.resting.has(index)) return false
    const task = this.tasks.get(index)
    if (task !== undefined) return task.state === "pending"
    return this.row?.untouched === "pending" && !this.isCarried(index)
  }

  /** It may be placed (again). */
  offer(index: number): void {
    this.#low.put(index)
  }

  /** All indexes that wait, in order; for the end of a run only, since it walks over all. */
  *pendingIndexes(): Generator<number> {
    const isOpen = this.row?.untouched === "pending"
    if (!isOpen && this.pendingRows === 0) return
    for (let index = 0; index < this.definition.count; index++) {
      const task = this.tasks.get(index)
      if (task === undefined ? isOpen && !this.isCarried(index) : task.state === "pending") {
        yield index
      }
    }
  }

  /** Since when it has got nothing although it waits: pending for so long, and nothing assigned since. */
  waitingSince(): number {
    let since = Math.max(this.run.run?.createdAt ?? 0, this.assignedAt)
    for (const edge of this.definition.after) {
      const upstream = this.run.groups.get(edge.group)
      if (upstream === undefined) continue
      const { startedAt, readyAt, endedAt } = upstream
      const marks = { started: startedAt, ready: readyAt, succeeded: endedAt, finished: endedAt }
      since = Math.max(since, marks[edge.on])
    }
    const next = this.next()
    const task = next === undefined ? undefined : this.tasks.get(next)
    return Math.max(since, task?.attempts.at(-1)?.endedAt ?? 0, task?.notBefore ?? 0)
  }

  /** Keeps the latest times. */
  note(task: Task): void {
    const last = task.attempts.at(-1)
    if (last === undefined) return
    this.assignedAt = Math.max(this.assignedAt, last.assignedAt)
    const started = task.attempts.find(({ startedAt }) => startedAt !== undefined)
    const ready = task.attempts.find(({ readyAt }) => readyAt !== undefined)
    this.startedAt = Math.max(this.startedAt, started?.startedAt ?? 0)
    this.readyAt = Math.max(this.readyAt, ready?.readyAt ?? 0)
    if (task.state === "finished") this.endedAt = Math.max(this.endedAt, last.endedAt ?? 0)
  }
}

export class RunBoard {
  readonly id: string
  readonly plan: Plan
  /** Sorts runs by their entry, then by their place in it. */
  readonly age: number
  run: Run | undefined
  /** In the order of the plan. */
  readonly groups = new Map<string, GroupBoard>()
  /** Groups whose `with` names this one. */
  readonly followers = new Map<string, readonly GroupBoard[]>()
  /** Slots that it holds, placements under way included. */
  slots = 0
  /** By node: live attempts of roles (under way included), and what was staged for them. */
  readonly places = new Map<number, number>()
  /** Bytes of its outputs by the node that made them. */
  readonly outputs = new Map<number, number>()
  /** Role groups with work that was not told to stop. */
  busyRoles = 0

  constructor(id: string, plan: Plan) {
    const [index = 0, item = 0] = id.slice(2).split(".").map(Number)
    this.id = id
    this.age = index * 1024 + item
    this.plan = plan
    for (const [position, definition] of plan.groups.entries()) {
      const group = new GroupBoard(this, definition, position)
      this.groups.set(definition.name, group)
      const anchor = definition.with
      if (anchor === undefined) continue
      this.followers.set(anchor, [...(this.followers.get(anchor) ?? []), group])
    }
  }

  get priority(): number {
    return this.plan.priority ?? 0
  }

  /** The node of the newest attempt of a group's first member: where `with` wants to be. */
  anchor(group: string): number | undefined {
    return this.groups.get(group)?.tasks.get(0)?.attempts.at(-1)?.node
  }
}

/** The node where a task counts for the spreading of its run. What was staged stays where its role will run. */
export function placeOf(group: GroupBoard, task: Task | undefined): number | undefined {
  if (!group.takesPlace || task === undefined) return undefined
  const isPlaced = liveAttempt(task) !== undefined || !group.definition.role
  return isPlaced ? task.attempts.at(-1)?.node : undefined
}

/** Adds to a count and drops it at 0. */
export function tally(counts: Map<number, number>, key: number | undefined, by: number): void {
  if (key === undefined || by === 0) return
  const sum = (counts.get(key) ?? 0) + by
  if (sum === 0) counts.delete(key)
  else counts.set(key, sum)
}
