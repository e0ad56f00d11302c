/** What the transcripts do not show: load by facts, silent members, placements beside a submit, duties, forgetting. */
import { expect, test } from "vitest"
import {
  bookkeepingMs,
  createScheduler,
  duties,
  lossAfterMs,
  overdueMarginMs,
  requeueAfterMs,
} from "../../../src/scheduler/index.ts"
import type { Command, Placement } from "../../../src/state/index.ts"
import { aGroup, aPair, aPlan, bookkeeping } from "../../support/plans.ts"
import { exited, World } from "../../support/world.ts"

const addressOf = (id: number): string => `10.0.0.${id}`
const aWorld = (): World => new World({ nodes: ["a", "b", "c"] })

function placements(commands: readonly Command[]): readonly Placement[] {
  return commands.flatMap((command) => (command.type === "assign" ? command.items : []))
}

test("a placement names attempt, node, lease and the address that others reach", () => {
  const world = aWorld()
  const run = world.submit(aPair())
  expect(world.scheduler.decide({ now: world.now, budget: 10, addressOf })).toEqual([
    {
      type: "assign",
      items: [
        { run, group: "server", index: 0, attempt: 1, node: 1, lease: 4, address: "10.0.0.1" },
      ],
    },
  ])
})

test("what is under way is not decided again, what came to nothing is", () => {
  const world = aWorld()
  world.submit(aPair())
  const ask = (): readonly Command[] =>
    world.scheduler.decide({ now: world.now, budget: 10, addressOf })
  const first = ask()
  expect(first).toHaveLength(1)
  expect(ask()).toEqual([])
  for (const command of first) if (command.type === "assign") world.scheduler.settle(command.items)
  expect(ask()).toEqual(first)
})

test("facts say how much a node takes and runs, when they are newer than its row", () => {
  const world = aWorld()
  world.submit(aPlan([aGroup("job", { count: 4 })]))
  const facts = new Map([
    [1, { capacity: 1, running: 1 }],
    [2, { capacity: 9, running: 3 }],
    [3, { capacity: 1, running: 0 }],
  ])
  const chosen = placements(
    world.scheduler.decide({ now: world.now, budget: 10, addressOf, facts }),
  )
  expect(chosen.map(({ node }) => node)).toEqual([3, 2, 2, 2])
  const explained = world.scheduler.explain(
    { run: chosen[0]!.run, group: "job", index: 0 },
    { facts: new Map([1, 2, 3].map((id) => [id, { capacity: 2, running: 2 }])) },
  )
  expect(explained!.waiting).toBe("no node fits: a has all 2 of its slots taken")
})

test("a member that is silent gets nothing new, and is said not to answer", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job", { needs: { node: "b" } })]))
  const silent = new Set([2])
  expect(world.scheduler.decide({ now: world.now, budget: 10, addressOf, silent })).toEqual([])
  const task = { run, group: "job", index: 0 }
  expect(world.scheduler.explain(task, { silent })!.waiting).toBe("b does not answer")
  expect(world.scheduler.explain(task)!.waiting).toBe("is about to be placed")
})

test("a run without nodes says so", () => {
  const scheduler = createScheduler()
  const world = aWorld()
  const run = world.submit(aPair())
  const rows = Array.from(world.tables.range(""), ([key, value]) => ({ key, value }))
  scheduler.observe(rows.filter(({ key }) => key.startsWith("plan/")))
  scheduler.observe(rows.filter(({ key }) => !/^(member|session|plan)/.test(key)))
  const explained = scheduler.explain({ run, group: "server", index: 0 })
  expect(explained).toEqual({ waiting: "there are no nodes", rejected: [] })
  expect(scheduler.decide({ now: world.now, budget: 10, addressOf })).toEqual([])
})

test("placeFirst places what waits for nothing, and apply takes it", () => {
  const world = aWorld()
  const [server] = aPair().groups
  const plan = aPlan([aGroup("job", { count: 3 }), server!, aGroup("late", { with: "job" })])
  const first = world.scheduler.placeFirst(plan, { addressOf, budget: 10, avoid: 1 })
  expect(first.map(({ group, index, node }) => [group, index, node])).toEqual([
    ["job", 0, 2],
    ["job", 1, 3],
    ["job", 2, 1],
    ["server", 0, 2],
  ])
  expect(world.scheduler.placeFirst(plan, { addressOf, budget: 2 })).toHaveLength(2)
  const run = world.submit(plan, { placements: first })
  expect(world.task(run, "job[2]")).toMatchObject({ state: "active", attempts: [{ node: 1 }] })
  expect(world.task(run, "server").state).toBe("active")
})

test("a new leader makes sure of starts not yet reported and of stops", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("one"), aGroup("two"), aGroup("three")]))
  world.assign(run, "one")
  world.assign(run, "two")
  world.tell(run, "two", "started")
  const ref = (group: string): object => ({ run, group, index: 0 })
  expect(duties(world.tables)).toEqual({ starts: [ref("one")], stops: [] })
  world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  expect(duties(world.tables)).toEqual({ starts: [], stops: [ref("one"), ref("two")] })
  world.tell(run, "one", "ended", exited(0))
  expect(duties(world.tables)).toEqual({ starts: [], stops: [ref("two")] })
})

test("a finished run is forgotten, with its attempts and timers", () => {
  const world = aWorld()
  const role = aGroup("job")
  const run = world.submit(aPlan([role, ...bookkeeping([role]).slice(0, 1)]))
  expect(world.scheduler.runState(run)).toBe("active")
  world.assign(run, "job", { node: 2 })
  expect(world.scheduler.attemptsOn(2)).toEqual([{ run, group: "job", index: 0 }])
  world.tell(run, "job", "ended", exited(0))
  expect(world.scheduler.attemptsOn(2)).toEqual([])
  expect(world.scheduler.runState(run)).toBe("ending")
  world.perform(run, "collect-job", { outcome: "done", stopped: false }, 2)
  expect(world.scheduler.runState(run)).toBeUndefined()
  expect(world.scheduler.nextWake(world.now)).toBeUndefined()
  expect(world.scheduler.explain({ run, group: "job", index: 0 })).toBeUndefined()
})

test("a decision that was made and is not applied wakes again soon, not at once", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job")], { timeoutMs: 1000 }))
  world.assign(run, "job")
  world.now += 5000
  expect(world.scheduler.decide({ now: world.now, budget: 10, addressOf })).toEqual([
    { type: "decide", items: [{ kind: "run-timeout", run }] },
  ])
  expect(world.scheduler.nextWake(world.now)).toBe(world.now + 250)
})

test("a backoff that is over wakes once; after that the task is pending like any other", () => {
  const world = aWorld()
  const job = aGroup("job", { retries: 1, backoffMs: 1000, needs: { node: "b" } })
  const run = world.submit(aPlan([job, aGroup("other")], { timeoutMs: 60_000 }))
  const deadline = world.now + 60_000
  world.perform(run, "job", exited(1), 2)
  expect(world.scheduler.nextWake(world.now)).toBe(world.now + 1000)
  world.session(2, "lost")
  world.now += 1000
  world.decide()
  expect(world.task(run, "other").state).toBe("active")
  expect(world.scheduler.nextWake(world.now)).toBe(deadline)
  world.tell(run, "other", "started")
  expect(world.scheduler.nextWake(world.now)).toBe(deadline)
})

test("a node that is lost while bookkeeping waits for it sets its time", () => {
  const world = aWorld()
  const role = aGroup("job")
  const run = world.submit(aPlan([role, ...bookkeeping([role])], { timeoutMs: 600_000 }))
  world.perform(run, "job", exited(0), 2)
  // Nobody placed collect-job yet; nothing else changes than its node.
  expect(world.scheduler.nextWake(world.now)).toBe(world.now + 600_000 + bookkeepingMs)
  world.session(2, "lost")
  expect(world.scheduler.nextWake(world.now)).toBe(world.now + lossAfterMs)
})

test("requeue waits only for the lease, what hangs has a minute past its deadline", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job", { onLoss: "requeue" })], { timeoutMs: 600_000 }))
  world.assign(run, "job")
  world.session(1, "lost")
  expect(world.scheduler.nextWake(world.now)).toBe(world.now + requeueAfterMs)
  world.session(1, "up")
  world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  const graceMs = 5000
  const due = world.now + 600_000 + graceMs + overdueMarginMs
  expect(world.scheduler.nextWake(world.now)).toBe(due)
})

test("work that waits for its lost node is given up once its run is stopped", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job", { onLoss: "wait" })]))
  world.assign(run, "job")
  world.session(1, "lost")
  world.now += lossAfterMs
  const ask = (): readonly Command[] =>
    world.scheduler.decide({ now: world.now, budget: 10, addressOf })
  expect(ask()).toEqual([])
  world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  expect(ask()).toMatchObject([{ type: "decide", items: [{ kind: "attempt-lost" }] }])
})

test("nothing of a run is placed together with its own timeout", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job")], { timeoutMs: 1000 }))
  world.now += 1000
  const commands = world.scheduler.decide({ now: world.now, budget: 10, addressOf })
  expect(commands).toEqual([{ type: "decide", items: [{ kind: "run-timeout", run }] }])
})

test("staging is spread over the nodes like the roles that follow it, away from the leader", () => {
  const world = aWorld()
  const staged = ["one", "two"].flatMap((name) => [
    aGroup(`stage-${name}`, { role: false, work: { driver: "builtin", verb: "stage", files: [] } }),
    aGroup(name, {
      with: `stage-${name}`,
      after: [{ group: `stage-${name}`, on: "succeeded" }],
    }),
  ])
  const run = world.submit(aPlan(staged))
  const input = { now: world.now, budget: 10, addressOf, avoid: 1 }
  const stages = world.scheduler.decide(input)
  expect(placements(stages).map(({ group, node }) => [group, node])).toEqual([
    ["stage-one", 2],
    ["stage-two", 3],
  ])
  for (const command of stages) world.apply(command)
  for (const name of ["stage-one", "stage-two"]) {
    world.tell(run, name, "ended", { outcome: "done", stopped: false })
  }
  const roles = placements(world.scheduler.decide(input))
  expect(roles.map(({ group, node }) => [group, node])).toEqual([
    ["one", 2],
    ["two", 3],
  ])
})

test("older runs come first, also past r-9", () => {
  const world = aWorld()
  const runs = Array.from({ length: 8 }, () => world.submit(aPlan([aGroup("job")])))
  expect(runs).toContain("r-9")
  const chosen = placements(world.scheduler.decide({ now: world.now, budget: 100, addressOf }))
  expect(chosen.map(({ run }) => run)).toEqual(runs)
})
