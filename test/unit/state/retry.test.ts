/** Finished runs once more: all of them, or what did not succeed, with the results of what did. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  carriedCount,
  type Ending,
  isCarried,
  type Plan,
  rangesOf,
  type Task,
} from "../../../src/schema/index.ts"
import {
  carryOver,
  type ItemResult,
  liveAttempt,
  readPlan,
  readRun,
  readTasks,
  type RetryItem,
  viewOf,
} from "../../../src/state/index.ts"
import * as invariants from "../../support/invariants.ts"
import { aGroup, aPair, aPlan, aProcess, bookkeeping } from "../../support/plans.ts"
import { done, exited, terminated, World } from "../../support/world.ts"

function aWorld(): World {
  return new World({
    nodes: ["a", "b", "c"],
    watch(entry, applied, tables) {
      invariants.touchesOnlyNamed(entry, applied)
      invariants.respectsLives(tables, applied)
      invariants.placesRight(tables, entry, applied)
    },
  })
}

function retryItem(world: World, run: string, how: RetryItem["how"]): RetryItem {
  const carried = carryOver(world.tables, run, how)!
  const own = { principal: "anonymous", key: "", bodyHash: "", entryNode: "a" }
  return { ...carried, ...own, run, how }
}

/** As if nothing had had outputs. */
function plain(item: RetryItem): RetryItem {
  const groups = item.plan.groups.map((group) => {
    const own = item.kept.filter((kept) => kept.group === group.name)
    if (own.length === 0) return group
    const others = Array.from({ length: group.count }, (_, index) => index)
    const carried = others.filter(
      (index) => isCarried(group, index) || own.some((kept) => kept.index === index),
    )
    return { ...group, carried: rangesOf(carried) }
  })
  return { ...item, plan: { ...item.plan, groups }, kept: [] }
}

function retry(
  world: World,
  run: string,
  how: RetryItem["how"],
  change = (item: RetryItem): RetryItem => item,
): string {
  const items = [change(retryItem(world, run, how))]
  const [result] = world.apply({ type: "retry", items }).results
  if (result?.ok !== true) throw new Error(`not accepted: ${JSON.stringify(result)}`)
  return result.run!
}

/** Runs everything to its end; `endOf` says how a process ends. */
function play(world: World, run: string, endOf: (task: Task) => Ending): void {
  for (let round = 0; readRun(world.tables, run)!.state !== "finished"; round++) {
    if (round > 300) throw new Error("never ends")
    world.decide()
    for (const live of world.live([run])) {
      const group = readPlan(world.tables, run)!.groups.find(
        ({ name }) => name === live.task.group,
      )!
      const isBuiltin = group.work.driver === "builtin"
      if (live.task.state === "stopping") world.report(live, "ended", terminated)
      else if (isBuiltin) world.report(live, "ended", done)
      else if (group.life === "server") world.report(live, "ready")
      else world.report(live, "ended", endOf(live.task))
      invariants.addsUp(world.tables, run)
    }
    const wake = world.scheduler.nextWake(world.now)
    if (wake !== undefined) world.now = Math.max(world.now + 1, Math.min(wake, world.now + 20_000))
  }
}

const aJob = (count: number): Plan =>
  aPlan([aGroup("job", { count, work: aProcess(), phase: "job" })], {
    kind: "job",
    phases: ["init", "job", "done"],
  })

const results = (world: World, run: string): (string | undefined)[] =>
  readTasks(world.tables, run).map(({ result }) => result)

test("ranges name exactly the indexes that they were made of", () => {
  const some = fc.uniqueArray(fc.nat(60)).map((list) => list.toSorted((a, b) => a - b))
  fc.assert(
    fc.property(some, (indexes) => {
      const carried = rangesOf(indexes)
      expect(carriedCount({ carried })).toBe(indexes.length)
      const found = Array.from({ length: 62 }, (_, index) => index)
      expect(found.filter((index) => isCarried({ carried }, index))).toEqual(indexes)
    }),
  )
  expect(carriedCount({})).toBe(0)
  expect(isCarried({}, 0)).toBe(false)
})

test("rerun: a new run of the same plan, under the next free label, that says what it repeats", () => {
  const world = aWorld()
  const first = world.submit(aJob(2))
  play(world, first, () => exited(0))
  const again = retry(world, first, "rerun")
  expect(world.run(again)).toMatchObject({ label: "run-2", state: "active", kind: "job" })
  expect(viewOf(world.tables, again)).toMatchObject({ origin: { run: first, how: "rerun" } })
  expect(readTasks(world.tables, again).map(({ state }) => state)).toEqual(["pending", "pending"])
  play(world, again, () => exited(0))
  expect(world.run(again).verdict).toBe("succeeded")
  // Of a run that repeated one, too; it repeats that run, not the first.
  const third = retry(world, again, "rerun")
  expect(readPlan(world.tables, third)).toMatchObject({ origin: { run: again, how: "rerun" } })
})

test("failed: members that succeeded keep their results and are not run; the others are", () => {
  const world = aWorld()
  const first = world.submit(aJob(6))
  play(world, first, ({ index }) => exited(index % 2))
  const again = retry(world, first, "failed")
  const tasks = readTasks(world.tables, again)
  expect(tasks.filter(({ result }) => result === "succeeded").map(({ index }) => index)).toEqual([
    0, 2, 4,
  ])
  expect(tasks[0]!.outputs).toEqual(readTasks(world.tables, first)[0]!.outputs)
  const ran: number[] = []
  play(world, again, ({ index }) => {
    ran.push(index)
    return exited(0)
  })
  expect(ran.toSorted((a, b) => a - b)).toEqual([1, 3, 5])
  expect(world.run(again).verdict).toBe("succeeded")
  expect(results(world, again)).toEqual(Array.from({ length: 6 }, () => "succeeded"))
})

test("a plan of ten thousand members of which one failed is carried without a row for each", () => {
  const world = aWorld()
  const first = world.submit(aJob(10_000))
  const fail = { run: first, group: "job", index: 77 }
  world.perform(first, "job[77]", exited(1))
  world.apply({ type: "cancel", items: [{ run: first, reason: "enough" }] })
  expect(world.run(first).state).toBe("finished")
  const item = retryItem(world, first, "failed")
  const groups = item.plan.groups.map((group) => ({ ...group, carried: [0, 76, 78, 9999] }))
  const plan = { ...item.plan, groups }
  const applied = world.apply({ type: "retry", items: [{ ...item, plan, kept: [] }] })
  expect(applied.writes.length).toBeLessThan(10)
  const again = (applied.results[0] as Extract<ItemResult, { ok: true }>).run!
  invariants.addsUp(world.tables, again)
  world.decide()
  expect(world.live([again]).map(({ task }) => task.index)).toEqual([fail.index])
  play(world, again, () => exited(0))
  expect(world.run(again).verdict).toBe("succeeded")
})

test("a run in which everything is carried ends at once", () => {
  const world = aWorld()
  const first = world.submit(aJob(3))
  play(world, first, () => exited(0))
  const again = retry(world, first, "failed")
  expect(world.run(again)).toMatchObject({ state: "finished", verdict: "succeeded" })
})

test("with a key it is accepted once; another request with that key is a conflict", () => {
  const world = aWorld()
  const first = world.submit(aJob(1))
  play(world, first, () => exited(1))
  const item = { ...retryItem(world, first, "failed"), key: "k", bodyHash: `failed of ${first}` }
  const accepted = world.apply({ type: "retry", items: [item] }).results[0]!
  const same = world.apply({ type: "retry", items: [item] }).results[0]!
  expect(same).toMatchObject({ ok: true, existing: true, run: accepted.ok && accepted.run })
  const other = { ...item, bodyHash: `rerun of ${first}` }
  expect(world.apply({ type: "retry", items: [other] }).results[0]).toMatchObject({
    ok: false,
    code: "conflict",
  })
})

test("what is not finished, or not there, is not run again", () => {
  const world = aWorld()
  const first = world.submit(aJob(1))
  const item = retryItem(world, first, "rerun")
  const answers = [item, { ...item, run: "r-999" }].map(
    (each) => world.apply({ type: "retry", items: [each] }).results[0],
  )
  expect(answers).toMatchObject([
    { ok: false, code: "stale" },
    { ok: false, code: "not-found" },
  ])
})

test("a measurement whose client failed runs again whole: the server has no result to keep", () => {
  const world = aWorld()
  const first = world.submit(aPair())
  play(world, first, () => exited(1))
  expect(world.run(first).verdict).toBe("failed")
  const again = retry(world, first, "failed")
  const attempted = new Set<string>()
  play(world, again, (task) => {
    attempted.add(task.name)
    return exited(0)
  })
  expect(world.run(again).verdict).toBe("succeeded")
  expect(attempted).toContain("client")
  expect(world.task(again, "server").attempts).toHaveLength(1)
  expect(world.task(again, "collect-server").attempts).toHaveLength(1)
})

test("a role is carried with what was collected of it, and only then", () => {
  const world = aWorld()
  const roles = [aGroup("one"), aGroup("two")]
  const first = world.submit(aPlan([...roles, ...bookkeeping(roles)]))
  play(world, first, ({ name }) => exited(name === "two" ? 1 : 0))
  const again = retry(world, first, "failed")
  const [one, collected] = ["one", "collect-one"].map((name) => world.task(again, name))
  expect(one).toMatchObject({ result: "succeeded", attempts: [] })
  expect(collected).toMatchObject({ result: "succeeded", attempts: [] })
  expect(collected!.outputs.length).toBeGreaterThan(0)
  play(world, again, () => exited(0))
  expect(world.task(again, "one").attempts).toEqual([])
  expect(world.task(again, "bundle").attempts).toHaveLength(1)
  expect(world.run(again)).toMatchObject({ verdict: "succeeded" })
})

const marks = fc.constantFrom("started", "ready", "succeeded", "finished" as const)
const aShape = fc.record({
  counts: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
  edge: marks,
  failFast: fc.boolean(),
  parallel: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  outputs: fc.boolean(),
  fails: fc.array(fc.nat(9), { minLength: 1, maxLength: 8 }),
})

test("however often what failed is tried again: one verdict each, nothing that succeeded runs twice", () => {
  fc.assert(
    fc.property(
      aShape,
      fc.integer({ min: 1, max: 3 }),
      ({ counts, edge, fails, outputs, ...rest }, times) => {
        const world = aWorld()
        const { parallel, failFast } = rest
        const groups = counts.map((count, place) =>
          aGroup(`g${place}`, {
            count,
            after: place === 0 ? [] : [{ group: `g${place - 1}`, on: edge }],
            ...(parallel !== undefined && { parallel }),
            ...(failFast && { failFast }),
          }),
        )
        let run = world.submit(aPlan(groups, { kind: "job" }))
        let dice = 0
        const starts = new Map<string, number>()
        const succeeded = new Set<string>()
        const endOf = (task: Task): Ending => {
          expect(succeeded).not.toContain(task.name)
          starts.set(task.name, (starts.get(task.name) ?? 0) + 1)
          const isBad = fails[dice++ % fails.length]! % 3 === 0
          if (!isBad) succeeded.add(task.name)
          return exited(isBad ? 1 : 0)
        }
        play(world, run, endOf)
        for (let time = 0; time < times; time++) {
          run = retry(world, run, "failed", outputs ? undefined : plain)
          invariants.addsUp(world.tables, run)
          for (const task of readTasks(world.tables, run)) {
            if (succeeded.has(task.name)) expect(task).toMatchObject({ result: "succeeded" })
            expect(liveAttempt(task)).toBeUndefined()
          }
          play(world, run, endOf)
          const row = world.run(run)
          expect(row.verdict === "succeeded").toBe(
            readTasks(world.tables, run).every(({ result }) => result === "succeeded"),
          )
        }
        const runs = [...world.tables.range("run/")].length
        expect(runs).toBe(times + 1)
      },
    ),
    { numRuns: 200 },
  )
})
