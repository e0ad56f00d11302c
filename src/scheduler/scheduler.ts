/** The scheduler: indexes kept up by observing writes, decisions computed from them alone. */
import { type Plan, type Run, type Task, taskName } from "../schema/index.ts"
import {
  type Command,
  type DecideItem,
  liveAttempt,
  nextAttempt,
  type Placement,
  readTouchedTasks,
  runPrefix,
  type TaskRef,
  type View,
  type Write,
} from "../state/index.ts"
import { Board, type RunBoard } from "./board.ts"
import { explainTask } from "./explain.ts"
import { eligible, eligibleOf, Loads, misfits, pick, rejection, type Wish } from "./fit.ts"
import { type Timed, timedOf } from "./timers.ts"
import type {
  DecideInput,
  DryPlacement,
  Duties,
  Explanation,
  LossPatience,
  PlacementInput,
  Scheduler,
} from "./types.ts"
import { wishOf } from "./wish.ts"

/** Items of one entry, whatever the budget. */
const itemsMax = 512
/** When a timed decision was made and is not applied yet, look again after this long. */
const retryMs = 250

class RowScheduler implements Scheduler {
  readonly #board = new Board()
  /** First time at which each run has something timed. */
  readonly #due = new Map<string, number>()

  constructor(patience: LossPatience | undefined) {
    if (patience) this.#board.lossPatience = patience
  }

  reset(view: View): void {
    this.#board.reset(view)
    this.#due.clear()
    for (const run of this.#board.runs.keys()) this.#board.dirty.add(run)
  }

  observe(writes: readonly Write[]): void {
    this.#board.observe(writes)
  }

  decide(input: DecideInput): readonly Command[] {
    const budget = Math.min(input.budget, itemsMax)
    const items = this.#timedItems(input.now, budget)
    const over = new Set(items.flatMap((item) => (item.kind === "run-timeout" ? [item.run] : [])))
    const placements = this.#placements(input, { budget: budget - items.length, over })
    const commands: Command[] = []
    if (items.length > 0) commands.push({ type: "decide", items })
    if (placements.length > 0) commands.push({ type: "assign", items: placements })
    return commands
  }

  explain(
    task: TaskRef,
    input: Pick<PlacementInput, "facts" | "silent"> = {},
  ): Explanation | undefined {
    return explainTask(this.#board, task, input)
  }

  nextWake(now: number): number | undefined {
    this.#refresh(now)
    let next: number | undefined
    for (const at of this.#due.values()) if (next === undefined || at < next) next = at
    return next === undefined || next > now ? next : now + retryMs
  }

  attemptsOn(node: number): readonly TaskRef[] {
    return Array.from(this.#board.on(node).values(), ({ ref }) => ref)
  }

  runState(run: string): Run["state"] | undefined {
    return this.#board.runs.get(run)?.run?.state
  }

  // ---------------------------------------------------------------- time

  /** Works out anew when the runs that were touched have something timed. */
  #refresh(now: number): void {
    for (const id of this.#board.dirty) {
      const run = this.#board.runs.get(id)
      this.#schedule(id, run === undefined ? [] : timedOf(this.#board, run), now)
    }
    this.#board.dirty.clear()
  }

  /** A backoff that is over needs no more waking: its task is simply pending. */
  #schedule(run: string, timed: readonly Timed[], now: number): void {
    const still = timed.filter(({ at, item }) => at > now || item !== undefined)
    const first = still.reduce((least, { at }) => Math.min(least, at), Infinity)
    if (first === Infinity) this.#due.delete(run)
    else this.#due.set(run, first)
  }

  #timedItems(now: number, budget: number): DecideItem[] {
    this.#refresh(now)
    const items: DecideItem[] = []
    const due = [...this.#due].filter(([, at]) => at <= now).map(([run]) => run)
    for (const [id, run] of this.#byAge(due)) {
      const timed = timedOf(this.#board, run)
      for (const { at, item } of timed) {
        if (items.length >= budget) return items
        if (at <= now && item !== undefined) items.push(item)
      }
      this.#schedule(id, timed, now)
    }
    return items
  }

  /** Oldest run first; those that are gone are left out. */
  #byAge(ids: Iterable<string>): readonly (readonly [string, RunBoard])[] {
    const runs: [string, RunBoard][] = []
    for (const id of ids) {
      const run = this.#board.runs.get(id)
      if (run !== undefined) runs.push([id, run])
    }
    return runs.toSorted(([, a], [, b]) => a.age - b.age)
  }

  // ---------------------------------------------------------------- placement

  #placements(
    input: DecideInput,
    { budget, over }: { readonly budget: number; readonly over: ReadonlySet<string> },
  ): Placement[] {
    const loads = new Loads(this.#board, input.facts)
    const placements: Placement[] = []
    for (const [id, run] of this.#byAge(this.#board.pendingRuns)) {
      if (placements.length >= budget) break
      if (run.run === undefined || over.has(id)) continue
      this.#placeRun(run, input, { loads, placements, budget })
    }
    return placements
  }

  #placeRun(
    run: RunBoard,
    input: DecideInput,
    out: { readonly loads: Loads; readonly placements: Placement[]; readonly budget: number },
  ): void {
    for (const group of run.groups.values()) {
      if (!group.hasPending || input.hold?.(run.run!, group.definition.phase)) continue
      const members = eligibleOf(this.#board, group)
      if (members.length === 0) continue
      const wish = wishOf(run, group.definition)
      for (const index of group.pending()) {
        if (out.placements.length >= out.budget) return
        const task = group.task(index)!
        if (task.notBefore !== undefined && task.notBefore > input.now) continue
        const member = pick(out.loads, wish, input, members)
        // All members of a group ask the same: what one cannot have, none can.
        if (member === undefined) break
        out.loads.add(wish.run, wish.group, member.id)
        out.placements.push(this.#placement(task, member.id, input))
      }
    }
  }

  #placement(task: Task, node: number, input: PlacementInput): Placement {
    return {
      run: task.run,
      group: task.group,
      index: task.index,
      attempt: nextAttempt(task),
      node,
      lease: this.#board.sessions.get(node)!.lease,
      address: input.addressOf(node),
    }
  }

  place(plan: Plan, input: PlacementInput): readonly DryPlacement[] {
    const loads = new Loads(this.#board, input.facts)
    const firsts = new Map<string, number>()
    const placed: DryPlacement[] = []
    for (const group of plan.groups) {
      const anchor = group.with === undefined ? undefined : (firsts.get(group.with) ?? "none")
      const wish: Wish = { run: "", group, anchor, outputs: new Map() }
      const members = eligible(this.#board, group)
      const scene = { board: this.#board, loads, silent: input.silent }
      for (let index = 0; index < group.count; index++) {
        const rejected = misfits(scene, wish).map(rejection)
        const member = pick(loads, wish, input, members)
        if (member !== undefined) {
          loads.add("", group, member.id)
          if (index === 0) firsts.set(group.name, member.id)
        }
        placed.push({
          group: group.name,
          index,
          task: taskName(group, index),
          ...(member !== undefined && { node: { id: member.id, name: member.name } }),
          rejected,
        })
      }
    }
    return placed
  }

  placeFirst(
    plan: Plan,
    input: PlacementInput & { readonly budget: number },
  ): readonly Placement[] {
    const loads = new Loads(this.#board, input.facts)
    const placements: Placement[] = []
    for (const group of plan.groups) {
      if (group.after.length > 0 || group.with !== undefined) continue
      const wish: Wish = { run: "", group, anchor: undefined, outputs: new Map() }
      const members = eligible(this.#board, group)
      for (let index = 0; index < group.count; index++) {
        if (placements.length >= Math.min(input.budget, itemsMax)) return placements
        const member = pick(loads, wish, input, members)
        if (member === undefined) break
        loads.add("", group, member.id)
        const lease = this.#board.sessions.get(member.id)!.lease
        const address = input.addressOf(member.id)
        const ref = { run: "", group: group.name, index }
        placements.push({ ...ref, attempt: 1, node: member.id, lease, address })
      }
    }
    return placements
  }
}

/** Nothing observed yet. */
export function createScheduler(patience?: LossPatience): Scheduler {
  return new RowScheduler(patience)
}

/** What a leader that has just been elected makes sure of, from the rows alone. */
export function duties(view: View): Duties {
  const starts: TaskRef[] = []
  const stops: TaskRef[] = []
  for (const [, value] of view.range(runPrefix)) {
    const run = value as Run
    if (run.state === "finished") continue
    for (const task of readTouchedTasks(view, run.id)) {
      const live = liveAttempt(task)
      if (live === undefined) continue
      const ref = { run: task.run, group: task.group, index: task.index }
      if (task.state === "stopping") stops.push(ref)
      else if (live.state === "assigned") starts.push(ref)
    }
  }
  return { starts, stops }
}
