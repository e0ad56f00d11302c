/** Nothing is promised twice, nobody starves, nothing idles, and rows alone decide: random work on random nodes. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { Member, Plan, Task } from "../../../src/schema/index.ts"
import { createScheduler, patienceMs, type Scheduler } from "../../../src/scheduler/index.ts"
import {
  type Command,
  firstUnmet,
  liveAttempt,
  readSession,
  readTasks,
} from "../../../src/state/index.ts"
import { aGroup, aPlan } from "../../support/plans.ts"
import type { LiveHere } from "../../support/world.ts"
import {
  arbitraryWork,
  checkShared,
  clusters,
  gib,
  isShared,
  nodes,
  plansOf,
  Story,
} from "./story.ts"

type Step = readonly [action: number, choice: number]
const steps = fc.array(fc.tuple(fc.nat(14), fc.nat(50)), { minLength: 10, maxLength: 80 })

function take(story: Story, plans: Plan[], [action, choice]: Step): void {
  const { world } = story
  const live = story.live()
  const one = live[choice % Math.max(1, live.length)]
  const node = (choice % nodes.length) + 1
  if (action < 3) {
    const plan = plans.shift()
    if (plan !== undefined) story.submit(plan)
  } else if (action < 6) story.decide()
  else if (action < 8) story.applyOne(choice % 6 === 0)
  else if (action < 11) story.end(one, choice % 3)
  else if (action === 11) world.now += choice * 500
  else if (action === 12) world.session(node, choice % 2 === 0 ? "up" : "lost")
  else if (action === 13) {
    const mode = choice % 2 === 0 ? "open" : "cordon"
    world.apply({ type: "cordon", items: [{ id: node, mode, reason: "tests" }] })
  } else if (one !== undefined && choice % 5 === 0) {
    world.apply({ type: "cancel", items: [{ run: one.task.run, reason: "tests" }] })
  }
}

test("however proposals, results and losses interleave, no node is ever promised twice", () => {
  fc.assert(
    fc.property(clusters, plansOf, steps, (has, plans, list) => {
      const story = new Story(has)
      const left = [...plans]
      for (const step of list) {
        take(story, left, step)
        checkShared(story)
      }
      for (const id of [1, 2, 3]) story.world.session(id, "up")
      for (const plan of left) story.submit(plan)
      story.settle()
      checkShared(story)
    }),
    { numRuns: 400 },
  )
})

/** Nodes that take the task, by the rows. */
function fitting(story: Story, task: Task): readonly Member[] {
  const group = story.group(task)
  const anchor =
    group.with === undefined
      ? undefined
      : readTasks(story.world.tables, task.run)
          .find((one) => one.group === group.with && one.index === 0)
          ?.attempts.at(-1)?.node
  return story.members().filter((member) => {
    if (readSession(story.world.tables, member.id)?.state !== "up") return false
    if (member.cordon !== undefined || firstUnmet(group.needs, member) !== undefined) return false
    if (group.with !== undefined && anchor !== member.id) return false
    return isShared([...story.on(member.id), { task, group }], member)
  })
}

function isHeldUp(story: Story, task: Task): boolean {
  const { parallel = Infinity } = story.group(task)
  const own = story.live().filter((live) => live.task.run === task.run)
  const live = own.filter((one) => one.task.group === task.group && liveAttempt(one.task))
  return (task.notBefore ?? 0) > story.world.now || live.length >= parallel
}

test("no node idles while a task waits that fits there, but one that is kept for who waits longer", () => {
  fc.assert(
    fc.property(clusters, plansOf, steps, (has, plans, list) => {
      const story = new Story(has)
      const left = [...plans]
      for (const step of list) take(story, left, step)
      story.settle()
      for (const task of story.pending()) {
        if (isHeldUp(story, task)) continue
        const { rejected, waiting } = story.world.scheduler.explain(task)!
        for (const member of fitting(story, task)) {
          const why = rejected.find(({ id }) => id === member.id)?.reason
          expect(why, `${task.name}: ${waiting}`).toMatch(/^is kept free for /)
        }
        // Whatever is refused is refused for a reason that the rows bear out.
        const fits = new Set(fitting(story, task).map(({ id }) => id))
        const refused = rejected.filter(({ reason }) => !reason.startsWith("is kept free"))
        expect(refused.filter(({ id }) => fits.has(id))).toEqual([])
        expect(waiting).not.toBe("is about to be placed")
      }
    }),
    { numRuns: 300 },
  )
})

/** Whether an idle cluster would take it, and it does not hang on somebody who never ends. */
function isPlaceable(story: Story, task: Task): boolean {
  const group = story.group(task)
  return story
    .members()
    .some(
      (member) =>
        firstUnmet(group.needs, member) === undefined && isShared([{ task, group }], member),
    )
}

test("with work that ends, everything that fits somewhere is placed in the end", () => {
  const ending = arbitraryWork.map((plan) => ({
    ...plan,
    groups: plan.groups.map(({ with: _with, ...group }) => ({ ...group, life: "batch" as const })),
  }))
  fc.assert(
    fc.property(
      clusters,
      fc.array(ending, { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.nat(20)),
      (has, plans, dice) => {
        const story = new Story(has)
        for (const plan of plans) story.submit(plan)
        for (let round = 0; ; round++) {
          expect(round, "rounds").toBeLessThan(500)
          story.settle()
          checkShared(story)
          const live = story.live()
          story.world.now += 1000
          if (live.length === 0 && story.pending().every((task) => !isHeldUp(story, task))) break
          story.end(live[dice.next().value! % Math.max(1, live.length)], 0)
        }
        const stranded = story.pending().filter((task) => isPlaceable(story, task))
        expect(stranded.map(({ name }) => name)).toEqual([])
      },
    ),
    { numRuns: 200 },
  )
})

const small = (): Plan => aPlan([aGroup("small", { needs: { cores: 1 } })])

test.each(["cores", "exclusive"])("who asks for much (%s) is not passed over for ever", (what) => {
  const has = [{ cores: 4, capacity: 4 }]
  const story = new Story(has)
  const { world } = story
  for (const node of [2, 3]) world.session(node, "lost")
  const large = what === "cores" ? { needs: { cores: 4 } } : { exclusive: "node" as const }
  for (let at = 0; at < 4; at++) story.submit(small())
  story.settle()
  story.submit(aPlan([aGroup("large", large)]))
  story.settle()
  const run = story.runs.at(-1)!
  // Each second the oldest small one ends and another comes.
  let seconds = 0
  for (; world.task(run, "large").state === "pending"; seconds++) {
    expect(seconds).toBeLessThan(60)
    world.now += 1000
    story.submit(small())
    story.end(story.live()[0], 0)
    story.settle()
  }
  // Its patience, and as long as it takes until the four have ended that were there.
  expect(seconds).toBeLessThanOrEqual(patienceMs / 1000 + 4)
  // It ends, and what was held back for it comes.
  story.end(
    story.live().find(({ task }) => task.run === run),
    0,
  )
  story.settle()
  expect(story.on(1)).toHaveLength(4)
})

test("nor by a run that is older and always has less", () => {
  const story = new Story([{ cores: 4, capacity: 4 }])
  const { world } = story
  for (const node of [2, 3]) world.session(node, "lost")
  story.submit(aPlan([aGroup("job", { count: 200, parallel: 3, needs: { cores: 1 } })]))
  story.settle()
  const lasting = aGroup("plain", { life: "service" })
  story.submit(aPlan([lasting, aGroup("large", { needs: { cores: 4 } })]))
  story.settle()
  const [narrow, run] = story.runs
  let seconds = 0
  for (; world.task(run!, "large").state === "pending"; seconds++) {
    expect(seconds).toBeLessThan(60)
    world.now += 1000
    const own = story.live().find(({ task }) => task.run === narrow)
    story.end(own, 0)
    story.settle()
  }
  expect(seconds).toBeLessThanOrEqual(patienceMs / 1000 + 4)
})

test("two runs alike never differ by more than one slot while both wait", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.array(fc.nat(50), { maxLength: 60 }),
      (capacity, ends) => {
        const story = new Story(nodes.map(() => ({ capacity })))
        const plan = aPlan([aGroup("job", { count: 40 })])
        // Every slot is taken when the two come.
        story.submit(aPlan([aGroup("job", { count: 3 * capacity })]))
        story.settle()
        for (let at = 0; at < 2; at++) story.submit(plan)
        story.settle()
        const [, one, two] = story.runs
        for (const choice of ends) {
          const live = story.live()
          const third = live.filter(({ task }) => task.run !== one && task.run !== two)
          const most = third.length > 0 ? third : mostOf(live)
          story.end(most[choice % Math.max(1, most.length)], 0)
          story.settle()
          const slots = [one, two].map(
            (run) => story.live().filter(({ task }) => task.run === run).length,
          )
          expect(Math.abs(slots[0]! - slots[1]!)).toBeLessThanOrEqual(1)
        }
      },
    ),
    { numRuns: 100 },
  )
})

/** Attempts of the run that has most: what ends is taken from it, so that only the scheduler could make it unfair. */
function mostOf(live: readonly LiveHere[]): readonly LiveHere[] {
  const byRun = [...Map.groupBy(live, ({ task }) => task.run).values()]
  return byRun.toSorted((a, b) => b.length - a.length)[0] ?? []
}

function letGo(scheduler: Scheduler, commands: readonly Command[]): void {
  for (const command of commands) if (command.type === "assign") scheduler.settle(command.items)
}

/** One that has just read the rows against the one that has seen them come. */
function compare(story: Story, plan: Plan | undefined, silent: ReadonlySet<number>): void {
  const { world } = story
  const fresh = createScheduler()
  fresh.reset(world.tables)
  const input = { now: world.now, budget: 16, avoid: 1, silent, addressOf: String }
  const said = world.scheduler.decide(input)
  const again = fresh.decide(input)
  expect(again).toEqual(said)
  for (const task of story.pending()) {
    expect(fresh.explain(task, { silent })).toEqual(world.scheduler.explain(task, { silent }))
  }
  letGo(world.scheduler, said)
  letGo(fresh, again)
  expect(fresh.nextWake(world.now)).toBe(world.scheduler.nextWake(world.now))
  if (plan === undefined) return
  expect(fresh.place(plan, input)).toEqual(world.scheduler.place(plan, input))
}

test("rows alone decide: a scheduler that reads them anew says and explains the same", () => {
  fc.assert(
    fc.property(clusters, plansOf, steps, (has, plans, list) => {
      const story = new Story(has)
      const left = [...plans]
      for (const step of list) {
        take(story, left, step)
        // Mostly the cluster is full, so that what waits, waits for something.
        if (step[1] % 3 === 0) while (story.applyOne()) continue
        else story.settle()
        compare(story, plans[0], new Set(step[1] % 4 === 0 ? [2] : []))
      }
    }),
    { numRuns: 100 },
  )
})

const arbitraryJob: fc.Arbitrary<Plan> = fc
  .record({
    count: fc.integer({ min: 1, max: 4 }),
    cores: fc.constantFrom(undefined, 1, 1, 2, 3, 4),
    memory: fc.constantFrom(undefined, undefined, 1, 3),
    exclusive: fc.constantFrom(undefined, undefined, undefined, "node", "network" as const),
    priority: fc.constantFrom(0, 0, 0, 1),
    life: fc.constantFrom("batch", "batch", "batch", "batch", "service" as const),
  })
  .map(({ count, cores, memory, exclusive, priority, life }) => {
    const needs = {
      ...(cores !== undefined && { cores }),
      ...(memory !== undefined && { memoryBytes: memory * gib }),
    }
    const group = aGroup("job", { count, needs, life, ...(exclusive && { exclusive }) })
    return aPlan([group], { priority, timeoutMs: 10 ** 9 })
  })

test("rows alone decide also who is waited for where much waits for long", () => {
  const cluster = [4, 4, 4].map((cores) => ({ cores, capacity: 3, memoryBytes: 4 * gib }))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(arbitraryJob, fc.nat(3), fc.nat(20)), { minLength: 10, maxLength: 40 }),
      fc.boolean(),
      (list, isWide) => {
        const story = new Story(cluster)
        if (!isWide) story.world.session(3, "lost")
        for (const [plan, ends, choice] of list) {
          story.submit(plan)
          for (let at = 0; at < ends; at++) {
            const live = story.live()
            story.end(live[(choice + at) % Math.max(1, live.length)], 0)
          }
          story.world.now += 4000
          if (choice % 2 === 0) story.settle()
          else while (story.applyOne()) continue
          compare(story, undefined, new Set())
          checkShared(story)
        }
      },
    ),
    { numRuns: 100 },
  )
})
