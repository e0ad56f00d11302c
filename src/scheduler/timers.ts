/** What must be decided at a certain time although nobody says a word: timeouts, lost nodes, drains, work that hangs. */
import type { Attempt, Task, TaskGroup } from "../schema/index.ts"
import {
  type DecideItem,
  endsAnyway,
  firstUnmet,
  liveAttempt,
  type TaskRef,
} from "../state/index.ts"
import { Heap, type Ranked } from "./heap.ts"
import type { NodeBoard } from "./node-board.ts"
import type { Nodes } from "./nodes.ts"
import type { GroupBoard, RunBoard } from "./run-board.ts"
import type { LossPatience } from "./types.ts"

/** After its session was lost, a node has this long to come back before its attempts are given up for good. With the
 *  silence before the session is lost this makes the 30 s of DESIGN.md §6.7. */
export const lossAfterMs = 25_000
/** The same for work that may be done again: past the lease that the node held (DESIGN.md §6.2), with a margin. With the
 *  times of a LAN; whoever has others says so. */
export const requeueAfterMs = 4000
const leaseMsUsual = 6000
export const lossPatienceUsual: LossPatience = { requeueMs: requeueAfterMs, leaseMs: leaseMsUsual }
/** For a node to end what it should have ended, before its attempt is given up. */
export const overdueMarginMs = 60_000
/** Bookkeeping without a deadline of its own. */
export const bookkeepingMs = 10 * 60_000
/** When a timed decision was made and is not applied yet, look again after this long. */
const retryMs = 250

type Subject =
  | { readonly kind: "run"; readonly run: RunBoard }
  /** A try that is not due yet. */
  | { readonly kind: "rest"; readonly group: GroupBoard; readonly index: number }
  | { readonly kind: "overdue"; readonly group: GroupBoard; readonly index: number }
  /** Members that wait although their run is ending. */
  | { readonly kind: "late"; readonly group: GroupBoard }
  /** Attempts on a node that is lost, gone or drained. */
  | { readonly kind: "node"; readonly node: NodeBoard }

interface Timer extends Ranked {
  /** State time, ms. */
  due: number
  readonly subject: Subject
}

/** A decision that is due, with what sorts it: run, place in the plan, member. */
interface Due {
  readonly order: readonly [age: number, position: number, index: number]
  readonly item: DecideItem
}

export class Timers {
  readonly #nodes: Nodes
  readonly #runs: ReadonlyMap<string, RunBoard>
  readonly #patience: LossPatience
  readonly #heap = new Heap<Timer>((one, other) => one.due < other.due)
  readonly #ofRun = new Map<RunBoard, Timer>()
  readonly #ofTask = new Map<GroupBoard, Map<number, Timer>>()
  readonly #ofGroup = new Map<GroupBoard, Timer>()
  readonly #ofNode = new Map<NodeBoard, Timer>()
  /** To be worked out anew. */
  readonly #lookAtNodes = new Set<NodeBoard>()
  readonly #lookAtGroups = new Set<GroupBoard>()

  constructor(nodes: Nodes, runs: ReadonlyMap<string, RunBoard>, patience: LossPatience) {
    this.#nodes = nodes
    this.#runs = runs
    this.#patience = patience
  }

  clear(): void {
    this.#heap.clear()
    this.#ofRun.clear()
    this.#ofTask.clear()
    this.#ofGroup.clear()
    this.#ofNode.clear()
    this.#lookAtNodes.clear()
    this.#lookAtGroups.clear()
  }

  // ---------------------------------------------------------------- what has changed

  runChanged(run: RunBoard): void {
    const due = run.run?.state === "active" && run.busyRoles > 0 ? run.run.deadlineAt : Infinity
    const known = this.#ofRun.get(run)
    const timer = known ?? { place: -1, due, subject: { kind: "run", run } }
    if (known === undefined) this.#ofRun.set(run, timer)
    this.#set(timer, due)
  }

  /** Its members wait or do so no more, its run has turned, or its anchor has moved. */
  groupChanged(group: GroupBoard): void {
    if (group.run.run?.state === "ending" && group.pending > 0) this.#lookAtGroups.add(group)
    else this.#forgetGroup(group)
  }

  #forgetGroup(group: GroupBoard): void {
    this.#lookAtGroups.delete(group)
    const timer = this.#ofGroup.get(group)
    if (timer === undefined) return
    this.#heap.delete(timer)
    this.#ofGroup.delete(group)
  }

  taskChanged(group: GroupBoard, index: number): void {
    const timers = this.#ofTask.get(group) ?? new Map<number, Timer>()
    const before = timers.get(index)
    if (before !== undefined) this.#heap.delete(before)
    timers.delete(index)
    group.resting.delete(index)
    const task = group.tasks.get(index)
    const live = task && liveAttempt(task)
    if (live !== undefined) {
      this.#start(timers, index, { due: overdueAt(group, live), group })
      this.left(this.#nodes.of(live.node))
    } else if (task?.state === "pending" && task.notBefore !== undefined) {
      this.rest(group, index, task.notBefore)
      return
    }
    if (timers.size > 0) this.#ofTask.set(group, timers)
    else this.#ofTask.delete(group)
  }

  /** Not to be placed before. */
  rest(group: GroupBoard, index: number, until: number): void {
    const timers = this.#ofTask.get(group) ?? new Map<number, Timer>()
    this.#ofTask.set(group, timers)
    group.resting.add(index)
    const timer: Timer = { place: -1, due: until, subject: { kind: "rest", group, index } }
    timers.set(index, timer)
    this.#heap.put(timer)
  }

  #start(
    timers: Map<number, Timer>,
    index: number,
    { due, group }: { readonly due: number; readonly group: GroupBoard },
  ): void {
    const timer: Timer = { place: -1, due, subject: { kind: "overdue", group, index } }
    timers.set(index, timer)
    this.#set(timer, due)
  }

  nodeChanged(node: NodeBoard): void {
    this.#lookAtNodes.add(node)
    for (const group of this.#ofGroup.keys()) this.#lookAtGroups.add(group)
  }

  /** Something that runs there has changed: that matters where it is not to stay. */
  left(node: NodeBoard): void {
    if (isAtRisk(node)) this.#lookAtNodes.add(node)
  }

  drop(run: RunBoard): void {
    const timer = this.#ofRun.get(run)
    if (timer !== undefined) this.#heap.delete(timer)
    this.#ofRun.delete(run)
    for (const group of run.groups.values()) {
      for (const one of this.#ofTask.get(group)?.values() ?? []) this.#heap.delete(one)
      this.#ofTask.delete(group)
      this.#forgetGroup(group)
    }
  }

  #set(timer: Timer, due: number): void {
    if (due === Infinity) this.#heap.delete(timer)
    else if (timer.due !== due || !this.#heap.has(timer)) {
      timer.due = due
      this.#heap.put(timer)
    }
  }

  // ---------------------------------------------------------------- what is due

  #refresh(): void {
    for (const node of this.#lookAtNodes) {
      const due = isAtRisk(node) ? least(this.#ofNodeNow(node).map(({ at }) => at)) : Infinity
      const timer = this.#ofNode.get(node) ?? { place: -1, due, subject: { kind: "node", node } }
      this.#ofNode.set(node, timer)
      this.#set(timer, due)
      if (due === Infinity) this.#ofNode.delete(node)
    }
    this.#lookAtNodes.clear()
    for (const group of this.#lookAtGroups) {
      const { at: due } = this.#hopeOf(group)
      const timer = this.#ofGroup.get(group) ?? { place: -1, due, subject: { kind: "late", group } }
      this.#ofGroup.set(group, timer)
      this.#set(timer, due)
    }
    this.#lookAtGroups.clear()
  }

  /** When there may be something to decide although nothing was applied. */
  next(now: number): number | undefined {
    this.#refresh()
    const due = this.#heap.first()?.due
    return due === undefined || due > now ? due : now + retryMs
  }

  /** Tries that have become due: each is told once. */
  rested(now: number): readonly { readonly group: GroupBoard; readonly index: number }[] {
    const over: { group: GroupBoard; index: number }[] = []
    const due = Array.from(this.#heap.while((timer) => timer.due <= now))
    for (const timer of due) {
      const { subject } = timer
      if (subject.kind !== "rest") continue
      this.#heap.delete(timer)
      this.#ofTask.get(subject.group)?.delete(subject.index)
      over.push(subject)
    }
    return over
  }

  /** At most `budget`, by run, group and member. They stay due until the rows change. */
  items(now: number, budget: number): readonly DecideItem[] {
    this.#refresh()
    const due: Due[] = []
    for (const { subject } of this.#heap.while((timer) => timer.due <= now)) {
      this.#due(subject, { now, budget, due })
    }
    due.sort(({ order: a }, { order: b }) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2])
    const items: DecideItem[] = []
    let last: Due | undefined
    for (const one of due) {
      if (items.length === budget) break
      // Whatever is said second of a task comes too late.
      const isSame = last !== undefined && one.order.every((part, at) => part === last!.order[at])
      if (!isSame) items.push(one.item)
      last = one
    }
    return items
  }

  #due(
    subject: Subject,
    { now, budget, due }: { readonly now: number; readonly budget: number; readonly due: Due[] },
  ): void {
    switch (subject.kind) {
      case "run": {
        const { age, id } = subject.run
        due.push({ order: [age, -1, 0], item: { kind: "run-timeout", run: id } })
        return
      }
      case "overdue":
        due.push(overdue(this.#nodes, subject))
        return
      case "late":
        due.push(...this.#late(subject.group, budget))
        return
      case "node":
        for (const one of this.#ofNodeNow(subject.node)) if (one.at <= now) due.push(one)
        return
      case "rest":
    }
  }

  /** Every decision about attempts of a node that is not to keep them, each with its time. */
  #ofNodeNow(node: NodeBoard): readonly (Due & { readonly at: number })[] {
    const found: (Due & { readonly at: number })[] = []
    for (const { ref } of node.live.values()) {
      const group = this.#runs.get(ref.run)?.groups.get(ref.group)
      const task = group?.tasks.get(ref.index)
      const live = task && liveAttempt(task)
      if (group === undefined || task === undefined || live === undefined) continue
      const order = orderOf(group, ref.index)
      const lost = this.#lossOf(node, group.definition, task)
      if (lost !== undefined) {
        const { at, reason } = lost
        const item = { kind: "attempt-lost" as const, task: ref, fence: live.fence, reason }
        found.push({ at, order, item })
      }
      const at = drainAt(node, group.definition, task)
      if (at !== undefined) {
        const reason = `${node.name} is drained: ${node.member?.cordon?.reason}`
        found.push({ at, order, item: { kind: "drained", task: ref, fence: live.fence, reason } })
      }
    }
    return found
  }

  /** When the attempt counts as lost with its node; undefined: its node is there, or is waited for. */
  #lossOf(
    { member, session, name }: NodeBoard,
    group: TaskGroup,
    task: Task,
  ): { readonly at: number; readonly reason: string } | undefined {
    // Removed by hand, or lost with the incarnation before: nobody waits for a node that never comes back.
    if (member === undefined) return { at: 0, reason: `${name} is no member any more` }
    if (session?.state !== "lost") return undefined
    if (member.dead !== undefined) return { at: 0, reason: `${name} was declared dead` }
    if (group.onLoss === "wait" && !endsAnyway(task)) return undefined
    const wait = group.onLoss === "requeue" ? this.#requeueWait(group) : lossAfterMs
    return { at: session.at + wait, reason: `${name} was lost` }
  }

  /** As long as its node may go on with it: one that may run longer without a lease is waited for longer. */
  #requeueWait({ selfStopMs = 0 }: TaskGroup): number {
    const { requeueMs, leaseMs } = this.#patience
    return requeueMs + Math.max(0, selfStopMs - leaseMs)
  }

  /** Once the roles have ended, bookkeeping must not wait for a node that is gone, or the run would not end. Before, the
   *  run's timeout ends every wait. */
  #late(group: GroupBoard, budget: number): readonly Due[] {
    const { reason } = this.#hopeOf(group)
    const due: Due[] = []
    for (const index of group.pendingIndexes()) {
      if (due.length === budget) break
      const task = refOf(group, index)
      due.push({ order: orderOf(group, index), item: { kind: "unplaceable", task, reason } })
    }
    return due
  }

  /** Until when some member may still come to fit: to its limit while one that could is up or was never heard. */
  #hopeOf(group: GroupBoard): { readonly at: number; readonly reason: string } {
    const { definition, run } = group
    const limit = run.run!.deadlineAt + (definition.deadlineMs ?? bookkeepingMs)
    const anchor = definition.with === undefined ? undefined : run.anchor(definition.with)
    let until = 0
    const names: string[] = []
    for (const { id, member, session } of this.#nodes.members()) {
      if (anchor !== undefined && id !== anchor) continue
      if (firstUnmet(definition.needs, member) !== undefined) continue
      if (session?.state !== "lost") return { at: limit, reason: "no node took it in time" }
      names.push(member.name)
      until = Math.max(until, member.dead === undefined ? session.at + lossAfterMs : 0)
    }
    if (until >= limit) return { at: limit, reason: "no node took it in time" }
    const reason = names.length === 0 ? "no node fits" : `${names.join(", ")} was lost`
    return { at: until, reason }
  }
}

function refOf(group: GroupBoard, index: number): TaskRef {
  return { run: group.run.id, group: group.definition.name, index }
}

function orderOf(group: GroupBoard, index: number): Due["order"] {
  return [group.run.age, group.position, index]
}

function least(times: readonly number[]): number {
  return times.reduce((first, at) => Math.min(first, at), Infinity)
}

/** Whether its attempts may have to be given up or moved. */
function isAtRisk({ member, session }: NodeBoard): boolean {
  if (member === undefined || member.dead !== undefined) return true
  return session?.state === "lost" || member.cordon?.mode === "drain"
}

/** When the node should have ended the attempt, and a margin. */
function overdueAt({ definition, run }: GroupBoard, live: Attempt): number {
  const due = definition.role
    ? (run.run?.deadlineAt ?? Infinity) + definition.graceMs
    : live.assignedAt + (definition.deadlineMs ?? bookkeepingMs)
  return due + overdueMarginMs
}

function overdue(
  nodes: Nodes,
  { group, index }: { readonly group: GroupBoard; readonly index: number },
): Due {
  const live = liveAttempt(group.tasks.get(index)!)!
  const name = nodes.of(live.node).name
  const reason = `${name} had not ended it ${overdueMarginMs / 1000} s after its deadline`
  const item = { kind: "overdue" as const, task: refOf(group, index), fence: live.fence, reason }
  return { order: orderOf(group, index), item }
}

/** When the attempt is told to leave a node that is drained: services at once, others at the deadline, bookkeeping never. */
function drainAt({ member }: NodeBoard, group: TaskGroup, task: Task): number | undefined {
  const cordon = member?.cordon
  if (cordon?.mode !== "drain" || task.state !== "active") return undefined
  if (group.work.driver === "builtin") return undefined
  return group.life === "service" ? 0 : cordon.deadlineAt
}
