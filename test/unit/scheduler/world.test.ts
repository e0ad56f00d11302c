/** Random plans in a random world: the invariants hold after every entry, and every run ends in one verdict. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { Ending, Plan } from "../../../src/schema/index.ts"
import { createScheduler, type Scheduler } from "../../../src/scheduler/index.ts"
import {
  type Applied,
  type AppliedEntry,
  apply,
  type Command,
  createTables,
  readPlan,
  readRun,
  type Tables,
} from "../../../src/state/index.ts"
import * as invariants from "../../support/invariants.ts"
import { arbitraryPlan } from "../../support/plans.ts"
import { done, exited, type LiveHere, terminated, World } from "../../support/world.ts"

const nodes = ["a", "b", "c"]

function jsonCopy(tables: Tables): Tables {
  const copy = createTables()
  copy.commit(
    Array.from(tables.range(""), ([key, value]) => ({
      key,
      value: JSON.parse(JSON.stringify(value)) as unknown,
    })),
  )
  return copy
}

/** Everything that must hold at every entry; the copy is what a node has that read its rows back from disk. */
function watch(entry: AppliedEntry, applied: Applied, tables: Tables): void {
  invariants.touchesOnlyNamed(entry, applied)
  invariants.respectsLives(tables, applied)
  invariants.placesRight(tables, entry, applied)
  if (entry.index % 7 === 0) {
    const again = apply(jsonCopy(tables), entry)
    expect(JSON.stringify(again)).toBe(JSON.stringify(applied))
  }
}

type Step = readonly [action: number, choice: number, dice: number]

const outcomes: readonly Ending[] = [
  exited(0),
  exited(0),
  exited(0),
  exited(3),
  { outcome: "signalled", signal: "SIGKILL", stopped: false },
  { outcome: "not_started", reason: "no such file", stopped: false },
  { outcome: "unknown", stopped: false },
]

class Story {
  readonly world = new World({ nodes, watch })
  readonly runs: string[] = []
  #nextPlan = 0
  readonly #plans: readonly Plan[]

  constructor(plans: readonly Plan[]) {
    this.#plans = plans
  }

  submit(): void {
    const plan = this.#plans[this.#nextPlan]
    if (plan === undefined) return
    this.#nextPlan++
    const { world } = this
    const input = { addressOf: (id: number) => `10.0.0.${id}`, budget: 4 }
    const placements = world.scheduler.placeFirst(plan, input)
    const key = `key-${this.#nextPlan}`
    const item = { principal: "anonymous", key, bodyHash: key, entryNode: "a", plan, placements }
    const [result] = world.apply({ type: "submit", items: [item] }).results
    world.scheduler.settle(placements)
    if (!result?.ok) throw new Error("not accepted")
    this.runs.push(result.run!)
  }

  #isBuiltin({ task }: LiveHere): boolean {
    const plan = readPlan(this.world.tables, task.run)!
    return plan.groups.find(({ name }) => name === task.group)!.work.driver === "builtin"
  }

  /** What a node does with an attempt, by the dice. */
  perform(live: LiveHere, dice: number): void {
    const { world } = this
    if (live.task.state === "stopping") {
      world.report(live, "ended", dice % 5 === 0 ? exited(0) : terminated)
    } else if (this.#isBuiltin(live)) {
      const failed: Ending = { outcome: "exited", exitCode: 1, reason: "disk full", stopped: false }
      world.report(live, "ended", dice % 7 === 0 ? failed : done)
    } else if (dice % 3 === 0) world.report(live, "started")
    else if (dice % 3 === 1) world.report(live, "ready")
    else world.report(live, "ended", outcomes[dice % outcomes.length])
  }

  step([action, choice, dice]: Step): void {
    const { world } = this
    const live = world.live(this.runs)
    const one = live[choice % Math.max(1, live.length)]
    const run = this.runs[choice % Math.max(1, this.runs.length)]
    if (action < 2) this.submit()
    else if (action < 5) world.decide()
    else if (action < 11 && one !== undefined) this.perform(one, dice)
    else if (action === 11) world.session((choice % nodes.length) + 1, dice % 2 ? "up" : "lost")
    else if (action === 12) world.now += dice * 500
    else if (action === 13 && run !== undefined && dice % 4 === 0) {
      world.apply({ type: "cancel", items: [{ run, reason: "asked to" }] })
    } else if (action === 14) this.#noise(one, dice)
    for (const id of this.runs) invariants.addsUp(world.tables, id)
  }

  /** Words that come too late, twice, or out of nowhere. */
  #noise(live: LiveHere | undefined, dice: number): void {
    const { world } = this
    if (live === undefined) return
    const { run, group, index } = live.task
    const { attempt } = live
    if (dice % 4 === 0) {
      const old = { ...live, attempt: { ...attempt, fence: attempt.fence - 1 } }
      expect(world.report(old, "ended", exited(0)).results[0]!.ok).toBe(false)
    } else if (dice % 4 === 1) {
      const task = { run, group, index }
      const item = { kind: "unplaceable", task, reason: "noise" } as const
      expect(world.apply({ type: "decide", items: [item] }).results[0]!.ok).toBe(false)
    } else if (dice % 4 === 2) {
      const lease = attempt.lease
      const item = { run, group, index, attempt: attempt.n + 1, node: 1, lease, address: "x" }
      expect(world.apply({ type: "assign", items: [item, item] }).results.every((r) => !r.ok)).toBe(
        true,
      )
    } else {
      const item = { run, group: "nobody", index: 7, attempt: 1, node: 9, lease: 1, address: "x" }
      expect(world.apply({ type: "assign", items: [item] }).results[0]!.ok).toBe(false)
    }
  }

  isOver(): boolean {
    return this.runs.every((run) => readRun(this.world.tables, run)!.state === "finished")
  }

  /** From here on nodes do what they are told, but those that are lost stay lost, and one of `hung` never ends. */
  finish(dice: number, hung: string | undefined): void {
    const { world } = this
    for (let round = 0; !this.isOver(); round++) {
      if (round > 400) throw new Error(`never ends: ${JSON.stringify(world.live(this.runs))}`)
      world.decide()
      for (const live of world.live(this.runs)) {
        const isHung = live.task.group === hung && live.attempt.n === 1
        if (!isHung && world.isUp(live.attempt.node)) this.perform(live, dice + round)
      }
      const wake = world.scheduler.nextWake(world.now)
      if (wake !== undefined)
        world.now = Math.max(world.now + 1, Math.min(wake, world.now + 20_000))
    }
  }
}

function byName(refs: readonly object[]): string[] {
  return refs.map((ref) => JSON.stringify(ref)).toSorted()
}

/** As if every placement had been lost. */
function letGo(scheduler: Scheduler, commands: readonly Command[]): void {
  for (const command of commands) if (command.type === "assign") scheduler.settle(command.items)
}

const steps = fc.array(fc.tuple(fc.nat(14), fc.nat(50), fc.nat(60)), { maxLength: 60 })

test("random plans, losses and noise: invariants hold and every run ends in one verdict", () => {
  fc.assert(
    fc.property(
      fc.array(arbitraryPlan, { minLength: 1, maxLength: 2 }),
      steps,
      fc.nat(20),
      fc.constantFrom(undefined, "g0", "collect-g0", "bundle", "stage0"),
      (plans, list, dice, hung) => {
        const story = new Story(plans)
        story.submit()
        for (const step of list) story.step(step)
        story.finish(dice, hung)
        for (const run of story.runs) {
          const row = readRun(story.world.tables, run)!
          expect(row.verdict).toBeDefined()
          expect(row.endedAt).toBeDefined()
          expect(row.verdict === "succeeded").toBe(row.reason === undefined)
          invariants.addsUp(story.world.tables, run)
        }
      },
    ),
    { numRuns: 300 },
  )
})

test("a scheduler that observed every write decides as one that read all rows anew", () => {
  fc.assert(
    fc.property(arbitraryPlan, steps, (plan, list) => {
      const story = new Story([plan, plan])
      story.submit()
      const { world } = story
      for (const step of list) {
        story.step(step)
        const fresh = createScheduler()
        fresh.reset(world.tables)
        const input = { now: world.now, budget: 64, avoid: 1, addressOf: String }
        const commands = world.scheduler.decide(input)
        const again = fresh.decide(input)
        expect(again).toEqual(commands)
        letGo(world.scheduler, commands)
        letGo(fresh, again)
        expect(fresh.nextWake(world.now)).toBe(world.scheduler.nextWake(world.now))
        for (const node of [1, 2, 3]) {
          expect(byName(fresh.attemptsOn(node))).toEqual(byName(world.scheduler.attemptsOn(node)))
        }
        for (const run of story.runs) {
          expect(fresh.runState(run)).toBe(world.scheduler.runState(run))
          const ref = { run, group: "g0", index: 0 }
          expect(fresh.explain(ref)).toEqual(world.scheduler.explain(ref))
        }
      }
    }),
    { numRuns: 150 },
  )
})
