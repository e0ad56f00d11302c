/** The scheduler's indexes, kept up row by row: nodes with what they have left, runs with what of them waits. */
import type { Member, Plan, Run, Task } from "../schema/index.ts"
import {
  type GroupRow,
  groupPrefix,
  isOpen,
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
  type View,
  type Write,
} from "../state/index.ts"
import type { NodeBoard } from "./node-board.ts"
import { Nodes } from "./nodes.ts"
import { Queue } from "./queue.ts"
import { type Claim, type GroupBoard, placeOf, RunBoard, tally } from "./run-board.ts"
import { Timers } from "./timers.ts"
import type { LossPatience } from "./types.ts"

/** Rows that say nothing to the scheduler, and come most often. */
const eventRows = "event/"

export class Board {
  readonly nodes = new Nodes()
  readonly queue = new Queue(this.nodes)
  readonly runs = new Map<string, RunBoard>()
  readonly timers: Timers
  /** Counts changes of any kind but those of nodes. */
  #version = 0

  constructor(patience: LossPatience) {
    this.timers = new Timers(this.nodes, this.runs, patience)
  }

  /** Another number after anything that an explanation may depend on. */
  get version(): number {
    return this.#version + this.nodes.version
  }

  reset(view: View): void {
    this.nodes.clear()
    this.queue.clear()
    this.runs.clear()
    this.timers.clear()
    const feed = (key: string, value: unknown): void => this.#row(key, value)
    for (const prefix of [memberPrefix, sessionPrefix]) {
      for (const [key, value] of view.range(prefix)) feed(key, value)
    }
    // Before there are lanes, which would look at all of them twice.
    this.queue.refresh()
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

  /** Tasks with a live attempt on a node. */
  on(node: number): readonly TaskRef[] {
    return Array.from(this.nodes.get(node)?.live.values() ?? [], ({ ref }) => ref)
  }

  // ---------------------------------------------------------------- rows

  #row(key: string, value: unknown): void {
    if (key.startsWith(eventRows)) return
    const parsed = parseKey(key)
    this.#version++
    switch (parsed?.table) {
      case "member":
        this.timers.nodeChanged(this.nodes.setMember(parsed.id, value as Member | undefined))
        return
      case "session":
        this.timers.nodeChanged(this.nodes.setSession(parsed.id, value as Session | undefined))
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
        this.#taskRow(parsed.task, key, value as Task | undefined)
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

  #planRow(run: string, plan: Plan | undefined): void {
    if (plan === undefined) this.#drop(run)
    else if (!this.runs.has(run)) this.runs.set(run, new RunBoard(run, plan))
  }

  #runRow(id: string, row: Run | undefined): void {
    const run = this.runs.get(id)
    if (run === undefined) return
    if (row === undefined || row.state === "finished") {
      this.#drop(id)
      return
    }
    const isNew = run.run === undefined
    const hasTurned = run.run?.state !== row.state
    run.run = row
    if (isNew) for (const group of run.groups.values()) this.queue.place(group)
    if (hasTurned) for (const group of run.groups.values()) this.timers.groupChanged(group)
    this.timers.runChanged(run)
  }

  #drop(id: string): void {
    const run = this.runs.get(id)
    if (run === undefined) return
    this.runs.delete(id)
    for (const group of run.groups.values()) {
      for (const claim of group.claims.values()) this.#endClaim(claim)
      for (const [index, task] of group.tasks) {
        this.#unlive(group, task, taskKey({ run: id, group: group.definition.name, index }))
      }
    }
    this.queue.drop(run)
    this.timers.drop(run)
  }

  #groupRow(id: string, name: string, row: GroupRow | undefined): void {
    const run = this.runs.get(id)
    const group = run?.groups.get(name)
    if (run === undefined || group === undefined) return
    const hadWork = group.hasWork
    group.row = row
    this.#looked(group, hadWork)
  }

  #taskRow(ref: TaskRef, key: string, task: Task | undefined): void {
    const group = this.runs.get(ref.run)?.groups.get(ref.group)
    if (group === undefined) return
    const { run } = group
    const before = group.tasks.get(ref.index)
    const hadWork = group.hasWork
    this.#count(group, before, -1)
    if (task === undefined) group.tasks.delete(ref.index)
    else {
      group.tasks.set(ref.index, task)
      group.note(task)
    }
    this.#count(group, task, 1)
    tally(run.places, placeOf(group, before), -1)
    tally(run.places, placeOf(group, task), 1)
    this.#moveLive(group, ref, { key, before, task })
    const claim = group.claims.get(ref.index)
    if (claim !== undefined) this.#endClaim(claim)
    this.timers.taskChanged(group, ref.index)
    if (task?.state === "pending" && !group.resting.has(ref.index)) group.offer(ref.index)
    this.#looked(group, hadWork)
    const isAnchor =
      ref.index === 0 && before?.attempts.at(-1)?.node !== task?.attempts.at(-1)?.node
    if (!isAnchor) return
    for (const follower of run.followers.get(ref.group) ?? []) {
      this.queue.place(follower)
      this.timers.groupChanged(follower)
    }
  }

  #count(group: GroupBoard, task: Task | undefined, sign: 1 | -1): void {
    if (task === undefined) return
    if (task.state === "pending") group.pendingRows += sign
    if (isOpen(task)) group.openRows += sign
    const node = task.attempts.at(-1)?.node
    for (const { bytes } of task.outputs) tally(group.run.outputs, node, sign * bytes)
  }

  #moveLive(
    group: GroupBoard,
    ref: TaskRef,
    step: {
      readonly key: string
      readonly before: Task | undefined
      readonly task: Task | undefined
    },
  ): void {
    const { key, before, task } = step
    const was = before && liveAttempt(before)?.node
    const is = task && liveAttempt(task)?.node
    if (was === is) return
    if (before !== undefined) this.#unlive(group, before, key)
    if (is === undefined) return
    const node = this.nodes.of(is)
    const { use } = group.ask
    node.live.set(key, { ref, use })
    group.live++
    const claim = group.claims.get(ref.index)
    if (claim?.node === node) {
      // What was under way is there now: nothing changes for the node.
      claim.isOpen = false
      group.claims.delete(ref.index)
      tally(group.run.places, group.takesPlace ? node.id : undefined, -1)
      this.nodes.keepClaim(node, use)
      return
    }
    this.nodes.add(node, use, 1)
    this.#share(group.run, use.slots)
  }

  #unlive(group: GroupBoard, task: Task, key: string): void {
    const live = liveAttempt(task)
    const node = live && this.nodes.get(live.node)
    if (node === undefined) return
    node.live.delete(key)
    group.live--
    this.nodes.add(node, group.ask.use, -1)
    this.#share(group.run, -group.ask.use.slots)
    this.timers.left(node)
  }

  #share(run: RunBoard, slots: number): void {
    if (slots === 0) return
    run.slots += slots
    this.queue.moved(run)
  }

  #looked(group: GroupBoard, hadWork: boolean): void {
    const { run } = group
    if (group.definition.role && hadWork !== group.hasWork) {
      run.busyRoles += hadWork ? -1 : 1
      this.timers.runChanged(run)
    }
    this.queue.place(group)
    this.timers.groupChanged(group)
  }

  // ---------------------------------------------------------------- placements under way

  claim(group: GroupBoard, index: number, node: NodeBoard): Claim {
    const claim: Claim = { node, group, index, isOpen: true }
    group.claims.set(index, claim)
    this.nodes.addClaim(node, group.ask.use, 1)
    tally(group.run.places, group.takesPlace ? node.id : undefined, 1)
    this.#share(group.run, group.ask.use.slots)
    this.#version++
    if (this.runs.has(group.run.id)) this.queue.place(group)
    return claim
  }

  /** It was refused, lost, or is applied as something else: the task may be placed again if it still waits. */
  letGo(claim: Claim): void {
    if (!claim.isOpen) return
    const { group, index } = claim
    this.#endClaim(claim)
    if (!this.runs.has(group.run.id)) return
    group.offer(index)
    this.queue.place(group)
  }

  #endClaim(claim: Claim): void {
    const { group, node, index } = claim
    if (!claim.isOpen) return
    claim.isOpen = false
    group.claims.delete(index)
    this.nodes.addClaim(node, group.ask.use, -1)
    tally(group.run.places, group.takesPlace ? node.id : undefined, -1)
    this.#share(group.run, -group.ask.use.slots)
    this.#version++
  }

  // ---------------------------------------------------------------- time

  restAgain(group: GroupBoard, index: number, until: number): void {
    this.timers.rest(group, index, until)
    this.#version++
    this.queue.place(group)
  }

  /** Tasks whose next try is due may be placed. */
  wakeRested(now: number): void {
    for (const { group, index } of this.timers.rested(now)) {
      group.resting.delete(index)
      group.offer(index)
      this.#version++
      this.queue.place(group)
    }
  }
}
