/** Limits of a group's members: how many at once, the first failure, the wait before the next try, drained nodes. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { Ending, TaskGroup } from "../../../src/schema/index.ts"
import { readEvents, readGroup, readSession, readTasks } from "../../../src/state/index.ts"
import { addsUp } from "../../support/invariants.ts"
import { aGroup, aPlan } from "../../support/plans.ts"
import { exited, terminated, World } from "../../support/world.ts"

const killed: Ending = { outcome: "signalled", signal: "SIGKILL", stopped: false }

/** A job of several members on nodes a and b, in a cluster of version 3. */
function aJob(fields: Partial<TaskGroup>): { world: World; run: string } {
  const world = new World({ nodes: ["a", "b"] })
  const group = aGroup("job", { count: 4, onLoss: "wait", phase: "job", ...fields })
  return { world, run: world.submit(aPlan([group], { kind: "job" })) }
}

const standings = (world: World, run: string): string[] =>
  readTasks(world.tables, run).map(({ state, result }) => result ?? state)

test("parallel: no further member is assigned while so many have a live attempt", () => {
  const { world, run } = aJob({ parallel: 2 })
  expect(world.assign(run, "job[0]").ok).toBe(true)
  expect(world.assign(run, "job[3]").ok).toBe(true)
  expect(world.assign(run, "job[1]")).toMatchObject({
    ok: false,
    code: "stale",
    detail: "2 of job are running, 2 at once are allowed",
  })
  world.tell(run, "job[3]", "ended", exited(0))
  expect(readGroup(world.tables, run, "job")).toMatchObject({ live: 1, finished: 1 })
  expect(world.assign(run, "job[1]").ok).toBe(true)
  addsUp(world.tables, run)
})

test("parallel: of one entry that assigns too many, only so many are assigned", () => {
  const { world, run } = aJob({ parallel: 1 })
  const { lease } = readSession(world.tables, 1)!
  const items = [0, 1, 2].map((index) => ({
    run,
    group: "job",
    index,
    attempt: 1,
    node: 1,
    lease,
    address: "10.0.0.1",
  }))
  const { results } = world.apply({ type: "assign", items })
  expect(results.map(({ ok }) => ok)).toEqual([true, false, false])
})

test("fail-fast: the first failure for good ends those that wait and stops those that run", () => {
  const { world, run } = aJob({ failFast: true, retries: 1 })
  world.assign(run, "job[0]")
  world.assign(run, "job[1]")
  world.tell(run, "job[0]", "ended", exited(3))
  // It is tried again: nothing is decided yet.
  expect(standings(world, run)).toEqual(["pending", "active", "pending", "pending"])
  world.now += 10_000
  world.perform(run, "job[0]", exited(3))
  expect(standings(world, run)).toEqual(["failed", "stopping", "cancelled", "cancelled"])
  expect(world.task(run, "job[1]").stop).toBe("failed_fast")
  expect(world.task(run, "job[3]").reason).toMatch(/^stopped because job\[0\] failed: exited/)
  expect(world.assign(run, "job[2]").ok).toBe(false)
  world.tell(run, "job[1]", "ended", terminated)
  expect(world.task(run, "job[1]")).toMatchObject({ result: "cancelled" })
  expect(world.task(run, "job[1]").reason).toContain("job[0]")
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "failed" })
  expect(world.run(run).reason).toContain("job[0] failed")
  addsUp(world.tables, run)
})

test("fail-fast: who had done its work before it was told to stop has succeeded", () => {
  const { world, run } = aJob({ failFast: true, count: 3 })
  for (const name of ["job[0]", "job[1]", "job[2]"]) world.assign(run, name)
  world.tell(run, "job[0]", "ended", killed)
  world.tell(run, "job[1]", "ended", exited(0))
  world.tell(run, "job[2]", "ended", { outcome: "exited", exitCode: 0, stopped: true })
  expect(standings(world, run)).toEqual(["failed", "succeeded", "cancelled"])
})

test("fail-fast: who is stopped on a node that is lost does not hold the run up", () => {
  const { world, run } = aJob({ failFast: true, count: 2 })
  world.assign(run, "job[0]", { node: 1 })
  world.assign(run, "job[1]", { node: 2 })
  world.tell(run, "job[0]", "ended", killed)
  world.session(2, "lost")
  world.now += 60_000
  world.decide()
  expect(standings(world, run)).toEqual(["failed", "cancelled"])
  expect(world.run(run).state).toBe("finished")
})

test("without fail-fast the others go on", () => {
  const { world, run } = aJob({ count: 2 })
  world.perform(run, "job[0]", killed)
  expect(standings(world, run)).toEqual(["failed", "pending"])
  world.perform(run, "job[1]", exited(0))
  expect(world.run(run).verdict).toBe("failed")
})

const waitOf = (world: World, run: string, name: string): number => {
  const { notBefore } = world.task(run, name)
  return notBefore === undefined ? 0 : notBefore - world.now
}

/** The waits before each further try of a member that always fails. */
function waits(fields: Partial<TaskGroup>, raised: boolean): number[] {
  const { world, run } = aJob({ retries: 12, count: 2, ...fields })
  if (raised) raise(world)
  return Array.from({ length: 12 }, () => {
    world.perform(run, "job[1]", exited(1))
    const wait = waitOf(world, run, "job[1]")
    world.now += wait
    return wait
  })
}

function raise(world: World): void {
  const rows = world.tables
  const cluster = rows.get("cluster") as object
  rows.commit([{ key: "cluster", value: { ...cluster, version: 3 } }])
}

test("backoff: before version 3 it doubles up to five minutes, exactly", () => {
  expect(waits({ backoffMs: 1000 }, false)).toEqual([
    1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000, 300_000,
  ])
})

test("backoff: from version 3 on a quarter more or less, never beyond its cap, the same on every node", () => {
  const backoffs = fc.integer({ min: 1, max: 100_000 })
  const caps = fc.option(fc.integer({ min: 1, max: 400_000 }), { nil: undefined })
  fc.assert(
    fc.property(backoffs, caps, (backoffMs, backoffMaxMs) => {
      const fields = { backoffMs, ...(backoffMaxMs !== undefined && { backoffMaxMs }) }
      const found = waits(fields, true)
      expect(waits(fields, true)).toEqual(found)
      const cap = backoffMaxMs ?? 300_000
      for (const [place, wait] of found.entries()) {
        const plain = Math.min(cap, backoffMs * 2 ** place)
        expect(wait).toBeGreaterThanOrEqual(Math.floor(plain * 0.75))
        expect(wait).toBeLessThanOrEqual(Math.ceil(Math.min(cap, plain * 1.25)))
      }
    }),
    { numRuns: 30 },
  )
})

test("backoff: members that fail together are not tried again together", () => {
  const { world, run } = aJob({ count: 200, retries: 1, backoffMs: 10_000 })
  raise(world)
  const starts = Array.from({ length: 200 }, (_, index) => {
    world.perform(run, `job[${index}]`, exited(1))
    return Math.floor(waitOf(world, run, `job[${index}]`) / 500)
  })
  // Between 7.5 and 12.5 s there are ten half seconds; none may have half of all.
  const most = Math.max(
    ...[...new Set(starts)].map((slot) => starts.filter((each) => each === slot).length),
  )
  expect(new Set(starts).size).toBeGreaterThanOrEqual(9)
  expect(most).toBeLessThan(60)
})

// ---------------------------------------------------------------- drained and dead nodes

function drain(world: World, node: number): void {
  const item = { id: node, mode: "drain", reason: "new disk" } as const
  world.apply({ type: "cordon", items: [item] })
}

function drained(world: World, run: string, name: string): { readonly ok: boolean } {
  const { group, index, attempts } = world.task(run, name)
  const task = { run, group, index }
  const { fence } = attempts.at(-1)!
  return world.decideItem({ kind: "drained", task, fence, reason: "b is drained" })
}

test("nothing is placed on a cordoned node, and what is drained there runs again without having failed", () => {
  const { world, run } = aJob({ count: 1 })
  world.assign(run, "job", { node: 2 })
  expect(drained(world, run, "job").ok).toBe(false)
  drain(world, 2)
  expect(drained(world, run, "job").ok).toBe(true)
  expect(world.task(run, "job")).toMatchObject({ state: "stopping", stop: "drained" })
  // Its program takes TERM for a good end: it had not done its work.
  world.tell(run, "job", "ended", { outcome: "exited", exitCode: 0, stopped: true })
  expect(world.task(run, "job")).toMatchObject({ state: "pending", reason: "b was drained" })
  expect(world.task(run, "job").stop).toBeUndefined()
  expect(world.assign(run, "job", { node: 2 }).ok).toBe(false)
  // With no retries: the drained attempt was no try.
  world.perform(run, "job", exited(0), 1)
  expect(world.run(run).verdict).toBe("succeeded")
})

test("what had ended well before a drain reached it has succeeded", () => {
  const { world, run } = aJob({ count: 1 })
  world.assign(run, "job", { node: 2 })
  drain(world, 2)
  drained(world, run, "job")
  world.tell(run, "job", "ended", exited(0))
  expect(world.run(run).verdict).toBe("succeeded")
})

test("a run that is cancelled while a member of it is drained ends", () => {
  const { world, run } = aJob({ count: 1 })
  world.assign(run, "job", { node: 2 })
  drain(world, 2)
  drained(world, run, "job")
  world.apply({ type: "cancel", items: [{ run, reason: "enough" }] })
  expect(world.task(run, "job").stop).toBe("cancelled")
  world.tell(run, "job", "ended", terminated)
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "cancelled" })
})

test("a measurement that is drained is void", () => {
  const world = new World({ nodes: ["a", "b"] })
  const run = world.submit(aPlan([aGroup("client", { onLoss: "fail" })]))
  world.assign(run, "client", { node: 2 })
  drain(world, 2)
  drained(world, run, "client")
  world.tell(run, "client", "ended", terminated)
  expect(world.run(run)).toMatchObject({ verdict: "failed" })
  expect(world.task(run, "client").reason).toBe("b was drained")
})

test("a node that is declared dead gives up what waits for it; late words of it are stale", () => {
  const { world, run } = aJob({ count: 1 })
  world.assign(run, "job", { node: 2 })
  const before = world.task(run, "job").attempts[0]!
  world.apply({ type: "dead", items: [{ id: 2, reason: "burnt down" }] })
  world.decide()
  expect(world.task(run, "job").attempts[0]).toMatchObject({ ending: { outcome: "lost" } })
  const task = world.task(run, "job")
  const late = world.report({ task, attempt: before }, "ended", exited(0)).results[0]!
  expect(late.ok).toBe(false)
  world.session(2, "up")
  expect(world.tables.get("member/0000000000000002")).not.toHaveProperty("dead")
  expect(
    readEvents(world.tables, run, { after: undefined, limit: 100 }).events.length,
  ).toBeLessThan(10)
})
