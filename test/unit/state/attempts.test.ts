/** One task through its attempts: which placements and reports count, what is tried again, what a lost node means. */
import { expect, test } from "vitest"
import type { Ending, TaskGroup } from "../../../src/schema/index.ts"
import { type ItemResult, type Placement, readGroup } from "../../../src/state/index.ts"
import { aDeclaration, aGroup, aPair, aPlan, aProcess, readiness } from "../../support/plans.ts"
import { done, exited, terminated, World } from "../../support/world.ts"

const aWorld = (): World => new World({ nodes: ["a", "b"] })
/** A run of one group, and its world. */
function one(fields: Partial<TaskGroup> = {}): { world: World; run: string } {
  const world = aWorld()
  return { world, run: world.submit(aPlan([aGroup("job", fields)])) }
}
const stale = { ok: false, code: "stale" }

test("an assignment makes an attempt with the entry's index as its fence", () => {
  const { world, run } = one()
  expect(world.assign(run, "job", { node: 2 })).toEqual({ ok: true, id: world.index })
  expect(world.task(run, "job")).toMatchObject({
    state: "active",
    attempts: [
      {
        n: 1,
        fence: world.index,
        node: 2,
        address: "10.0.0.2",
        state: "assigned",
        assignedAt: world.now,
      },
    ],
  })
})

const wrong: readonly (readonly [string, Partial<Placement>, string])[] = [
  ["another attempt than the next", { attempt: 2 }, "stale"],
  ["a node that is no member", { node: 9, lease: 1 }, "stale"],
  ["a lease that is over", { lease: 1 }, "stale"],
  ["a run that is not there", { run: "r-999" }, "not-found"],
  ["a group that is not there", { group: "else" }, "not-found"],
  ["an index past the count", { index: 1 }, "not-found"],
]

test.each(wrong)("a placement with %s is refused", (_, fields, code) => {
  const { world, run } = one()
  const placed = { lease: 3, ...fields }
  const { results, writes } = world.apply({
    type: "assign",
    items: [{ run, group: "job", index: 0, attempt: 1, node: 1, address: "x", ...placed }],
  })
  expect(results).toMatchObject([{ ok: false, code }])
  expect(writes).toEqual([])
})

test("a task is placed once, also within one entry", () => {
  const { world, run } = one()
  const lease = 3
  const item = { run, group: "job", index: 0, attempt: 1, node: 1, lease, address: "x" }
  const { results } = world.apply({ type: "assign", items: [item, item] })
  expect(results).toMatchObject([{ ok: true }, stale])
  expect(world.assign(run, "job")).toMatchObject(stale)
})

test("nothing is placed on a node that was lost, or before its edges are met", () => {
  const world = aWorld()
  const run = world.submit(aPair())
  world.session(1, "lost")
  expect(world.assign(run, "server", { node: 1 })).toMatchObject(stale)
  expect(world.assign(run, "client", { node: 2 })).toMatchObject(stale)
})

test("needs and with are checked again when a placement is applied", () => {
  const world = aWorld()
  const declaration = aDeclaration({ name: "b", tools: [] })
  world.apply({ type: "declare", items: [{ id: 2, declaration }] })
  const run = world.submit(
    aPlan([
      aGroup("picky", { needs: { tools: ["iperf3"] } }),
      aGroup("near", { with: "picky", after: [{ group: "picky", on: "started" }] }),
    ]),
  )
  expect(world.assign(run, "picky", { node: 2 })).toEqual({
    ...stale,
    detail: "b has no iperf3 on its PATH",
  })
  expect(world.assign(run, "picky", { node: 1 })).toMatchObject({ ok: true })
  world.tell(run, "picky", "started")
  expect(world.assign(run, "near", { node: 2 })).toEqual({ ...stale, detail: "picky is not on b" })
  expect(world.assign(run, "near", { node: 1 })).toMatchObject({ ok: true })
})

test("members of a group that were never touched are placed by their index", () => {
  const { world, run } = one({ count: 3 })
  expect(world.assign(run, "job[2]")).toMatchObject({ ok: true })
  expect([0, 1, 2].map((n) => world.task(run, `job[${n}]`).state)).toEqual([
    "pending",
    "pending",
    "active",
  ])
})

// ---------------------------------------------------------------- reports

test("reports move an attempt forward only; the same word again is no news", () => {
  const { world, run } = one({ work: aProcess({ readiness }) })
  world.assign(run, "job")
  const tell = (state: "started" | "ready"): ItemResult => world.tell(run, "job", state).results[0]!
  expect(tell("started")).toEqual({ ok: true })
  expect(tell("started")).toEqual({ ok: true, existing: true })
  world.now += 10
  expect(tell("ready")).toEqual({ ok: true })
  expect(tell("started")).toEqual({ ok: true, existing: true })
  const [attempt] = world.task(run, "job").attempts
  expect(attempt).toMatchObject({ state: "ready", startedAt: world.now - 10, readyAt: world.now })
  expect(world.tell(run, "job", "ended", exited(0)).results).toEqual([{ ok: true }])
  // The run is over with its only job: nothing more is heard of it.
  expect(world.tell(run, "job", "ended", exited(7)).results).toMatchObject([{ code: "stale" }])
  expect(world.task(run, "job").result).toBe("succeeded")
})

test("a job that cannot say that it is ready is ready when it has started", () => {
  const { world, run } = one()
  world.assign(run, "job")
  world.tell(run, "job", "started")
  expect(world.task(run, "job").attempts[0]).toMatchObject({ state: "ready", readyAt: world.now })
})

test("who is told only of the end has started, if it ran at all", () => {
  const ends: readonly (readonly [Ending, boolean])[] = [
    [exited(1), true],
    [terminated, true],
    [done, true],
    [{ outcome: "unknown", stopped: false }, true],
    [{ outcome: "not_started", stopped: false }, false],
  ]
  for (const [ending, started] of ends) {
    const { world, run } = one()
    world.assign(run, "job")
    world.tell(run, "job", "ended", ending)
    expect(world.task(run, "job").attempts[0]!.startedAt !== undefined, ending.outcome).toBe(
      started,
    )
  }
})

test("reports with another fence or attempt are ignored", () => {
  const { world, run } = one({ retries: 1 })
  world.perform(run, "job", exited(1))
  const task = world.task(run, "job")
  const old = { task, attempt: task.attempts[0]! }
  world.assign(run, "job")
  expect(world.report(old, "ended", exited(0)).results).toMatchObject([stale])
  const live = world.task(run, "job").attempts[1]!
  const odd = { ...live, fence: live.fence + 1 }
  expect(world.report({ task, attempt: odd }, "ended", exited(0)).results).toMatchObject([stale])
  expect(world.report({ task, attempt: { ...live, n: 1 } }, "started").results).toMatchObject([
    stale,
  ])
  expect(world.task(run, "job").state).toBe("active")
})

test("outputs come with the end", () => {
  const { world, run } = one()
  world.perform(run, "job", exited(0))
  expect(world.task(run, "job").outputs).toMatchObject([{ path: "roles/job/stdout.log", bytes: 3 }])
})

test("an end without an ending is unknown, and nobody invents a result", () => {
  const { world, run } = one()
  world.assign(run, "job")
  world.tell(run, "job", "ended")
  expect(world.task(run, "job")).toMatchObject({
    result: "lost",
    reason: "how it ended is not known",
  })
})

// ---------------------------------------------------------------- tries

test("a job is tried again as often as it may, with a backoff that doubles", () => {
  const { world, run } = one({ retries: 2, backoffMs: 1000 })
  world.perform(run, "job", exited(3))
  expect(world.task(run, "job")).toMatchObject({ state: "pending", notBefore: world.now + 1000 })
  expect(world.assign(run, "job")).toMatchObject(stale)
  world.now += 1000
  world.perform(run, "job", exited(3))
  expect(world.task(run, "job")).toMatchObject({ state: "pending", notBefore: world.now + 2000 })
  world.now += 2000
  world.perform(run, "job", exited(3))
  expect(world.task(run, "job")).toMatchObject({
    state: "finished",
    result: "failed",
    reason: "exited with code 3 (attempt 3)",
  })
  expect(world.task(run, "job").notBefore).toBeUndefined()
  expect(world.run(run)).toMatchObject({
    verdict: "failed",
    reason: "job failed: exited with code 3 (attempt 3)",
  })
})

test("the backoff ends at five minutes", () => {
  const { world, run } = one({ retries: 20, backoffMs: 60_000 })
  const waits: number[] = []
  for (let n = 0; n < 5; n++) {
    world.perform(run, "job", exited(1))
    waits.push(world.task(run, "job").notBefore! - world.now)
    world.now = world.task(run, "job").notBefore!
  }
  expect(waits).toEqual([60_000, 120_000, 240_000, 300_000, 300_000])
})

test("a success after a failure is a success", () => {
  const { world, run } = one({ retries: 1 })
  world.perform(run, "job", exited(1))
  world.perform(run, "job", exited(0))
  expect(world.task(run, "job")).toMatchObject({ state: "finished", result: "succeeded" })
  expect(world.task(run, "job").reason).toBeUndefined()
  expect(world.run(run).verdict).toBe("succeeded")
})

test("a service is started again whatever it ended with, and its row keeps the newest attempts", () => {
  const { world, run } = one({ life: "service", count: 2 })
  for (let n = 0; n < 40; n++) world.perform(run, "job[0]", n % 2 ? exited(0) : exited(1))
  const { state, attempts } = world.task(run, "job[0]")
  expect(state).toBe("pending")
  expect(attempts).toHaveLength(32)
  expect(attempts[0]!.n).toBe(1)
  expect(attempts.at(-1)!.n).toBe(40)
})

test("the attempts on which the counters stand are kept, however many follow", () => {
  const { world, run } = one({ life: "service" })
  const never: Ending = { outcome: "not_started", stopped: false }
  world.perform(run, "job", never)
  world.perform(run, "job", exited(1))
  for (let n = 0; n < 40; n++) world.perform(run, "job", never)
  expect(
    world
      .task(run, "job")
      .attempts.map(({ n }) => n)
      .slice(0, 2),
  ).toEqual([2, 12])
  world.perform(run, "job", exited(1))
  expect(readGroup(world.tables, run, "job")).toMatchObject({ started: 1, ready: 1 })
})

// ---------------------------------------------------------------- servers

const server = (fields: Partial<TaskGroup> = {}): TaskGroup =>
  aGroup("server", { life: "server", work: aProcess({ readiness }), ...fields })
const client = aGroup("client", { after: [{ group: "server", on: "ready" }] })

test("a server is stopped when all its clients have ended, however they did, and has then succeeded", () => {
  for (const ending of [exited(0), exited(1)]) {
    const world = aWorld()
    const run = world.submit(aPlan([server(), client]))
    world.assign(run, "server")
    world.tell(run, "server", "ready")
    world.assign(run, "client")
    const { events } = world.tell(run, "client", "ended", ending)
    const task = { run, group: "server", index: 0 }
    expect(events).toContainEqual(expect.objectContaining({ type: "task-stopping", task }))
    expect(world.task(run, "server")).toMatchObject({ state: "stopping", stop: "unneeded" })
    world.tell(run, "server", "ended", { ...terminated, signal: "SIGKILL" })
    expect(world.task(run, "server")).toMatchObject({ state: "finished", result: "succeeded" })
  }
})

test("a server that fails while its clients run has failed, and the run with it", () => {
  const world = aWorld()
  const run = world.submit(aPlan([server(), client]))
  world.assign(run, "server")
  world.tell(run, "server", "ready")
  world.assign(run, "client")
  world.tell(run, "server", "ended", exited(1))
  expect(world.task(run, "server")).toMatchObject({ result: "failed" })
  world.tell(run, "client", "ended", exited(0))
  expect(world.run(run)).toMatchObject({
    verdict: "failed",
    reason: "server failed: exited with code 1",
  })
})

test("a server that ends by itself before its client is placed has failed, even with 0", () => {
  const world = aWorld()
  const run = world.submit(aPlan([server(), client]))
  world.assign(run, "server")
  world.tell(run, "server", "ready")
  world.tell(run, "server", "ended", exited(0))
  expect(world.run(run)).toMatchObject({
    verdict: "failed",
    reason: "server failed: ended by itself before client had started",
  })
})

test("a server that ends well with its last client has succeeded, whichever report comes first", () => {
  const world = aWorld()
  const run = world.submit(aPlan([server(), client]))
  world.assign(run, "server")
  world.tell(run, "server", "ready")
  world.assign(run, "client")
  world.tell(run, "server", "ended", exited(0))
  world.tell(run, "client", "ended", exited(0))
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "succeeded" })
})

test("a server nobody depends on is a job like any other", () => {
  const { world, run } = one({ life: "server" })
  world.perform(run, "job", exited(0))
  expect(world.run(run).verdict).toBe("succeeded")
})

test("a server is tried again only while it has never been ready", () => {
  const world = aWorld()
  const run = world.submit(aPlan([server({ retries: 3 }), client]))
  world.perform(run, "server", exited(1))
  expect(world.task(run, "server").state).toBe("pending")
  world.assign(run, "server")
  world.tell(run, "server", "ready")
  world.tell(run, "server", "ended", exited(1))
  expect(world.task(run, "server")).toMatchObject({ state: "finished", result: "failed" })
})

test("a server that was told to stop before it ran was not needed", () => {
  const world = aWorld()
  const starting = aGroup("client", {
    after: [
      { group: "server", on: "started" },
      { group: "gate", on: "succeeded" },
    ],
  })
  const run = world.submit(aPlan([server(), aGroup("gate", { vital: false }), starting]))
  world.assign(run, "server")
  world.perform(run, "gate", exited(1))
  expect(world.task(run, "client").result).toBe("skipped")
  expect(world.task(run, "server").state).toBe("stopping")
  world.tell(run, "server", "ended", { outcome: "not_started", stopped: true })
  expect(world.task(run, "server")).toMatchObject({ state: "finished", result: "skipped" })
})

// ---------------------------------------------------------------- lost nodes

function lost(fields: Partial<TaskGroup>): { world: World; run: string; giveUp: () => ItemResult } {
  const { world, run } = one(fields)
  world.assign(run, "job")
  world.tell(run, "job", "started")
  const task = { run, group: "job", index: 0 }
  const { fence } = world.task(run, "job").attempts[0]!
  const giveUp = (): ItemResult =>
    world.decideItem({ kind: "attempt-lost", task, fence, reason: "a was lost" })
  return { world, run, giveUp }
}

test("an attempt is not given up while its node is there, or with another fence", () => {
  const { world, run, giveUp } = lost({ onLoss: "fail" })
  expect(giveUp()).toMatchObject(stale)
  world.session(1, "lost")
  const task = { run, group: "job", index: 0 }
  const odd = { kind: "attempt-lost", task, fence: 1, reason: "x" } as const
  expect(world.decideItem(odd)).toMatchObject(stale)
  world.session(1, "up")
  expect(giveUp()).toMatchObject(stale)
  expect(world.task(run, "job").state).toBe("active")
})

test("fail: a lost node makes the run lost, and late news of the attempt are ignored", () => {
  const { world, run, giveUp } = lost({ onLoss: "fail" })
  world.session(1, "lost")
  expect(giveUp()).toEqual({ ok: true })
  expect(world.run(run)).toMatchObject({ verdict: "lost", reason: "job was lost: a was lost" })
  expect(world.tell(run, "job", "ended", exited(0)).results).toMatchObject([stale])
  expect(world.task(run, "job").result).toBe("lost")
})

test("wait: nothing happens until the node is back", () => {
  const { world, run, giveUp } = lost({ onLoss: "wait" })
  world.session(1, "lost")
  expect(giveUp()).toMatchObject(stale)
  world.session(1, "up")
  world.tell(run, "job", "ended", exited(0))
  expect(world.run(run).verdict).toBe("succeeded")
})

test("wait: a run that is being stopped does not wait for a lost node", () => {
  const { world, run, giveUp } = lost({ onLoss: "wait" })
  world.session(1, "lost")
  world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  expect(giveUp()).toEqual({ ok: true })
  expect(world.task(run, "job").result).toBe("cancelled")
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "cancelled" })
})

test("requeue: the task runs elsewhere with a higher fence, and the old attempt counts no more", () => {
  const { world, run, giveUp } = lost({ onLoss: "requeue" })
  const old = { task: world.task(run, "job"), attempt: world.task(run, "job").attempts[0]! }
  world.session(1, "lost")
  expect(giveUp()).toEqual({ ok: true })
  expect(world.task(run, "job").state).toBe("pending")
  expect(world.assign(run, "job", { node: 2 })).toMatchObject({ ok: true })
  expect(world.report(old, "ended", exited(1)).results).toMatchObject([stale])
  world.tell(run, "job", "ended", exited(0))
  expect(world.task(run, "job")).toMatchObject({
    result: "succeeded",
    attempts: [{ n: 1 }, { n: 2 }],
  })
})

test("requeue does not use up tries, but ends after sixteen losses", () => {
  const { world, run } = one({ onLoss: "requeue" })
  const task = { run, group: "job", index: 0 }
  for (let n = 0; n < 17; n++) {
    expect(world.task(run, "job").state).toBe("pending")
    world.session(1, "up")
    world.assign(run, "job")
    const { fence } = world.task(run, "job").attempts.at(-1)!
    world.session(1, "lost")
    world.decideItem({ kind: "attempt-lost", task, fence, reason: "a was lost" })
  }
  expect(world.task(run, "job")).toMatchObject({ state: "finished", result: "lost" })
})

test("unknown is never a success: requeue tries again, the others are lost", () => {
  const unknown: Ending = { outcome: "unknown", stopped: false }
  const results = (["requeue", "fail", "wait"] as const).map((onLoss) => {
    const { world, run } = one({ onLoss })
    world.perform(run, "job", unknown)
    return world.task(run, "job").result ?? world.task(run, "job").state
  })
  expect(results).toEqual(["pending", "lost", "lost"])
})

test("overdue: what hangs after the run's deadline is given up, not before", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job")], { timeoutMs: 1000 }))
  world.assign(run, "job")
  const task = { run, group: "job", index: 0 }
  const { fence } = world.task(run, "job").attempts[0]!
  const item = { kind: "overdue", task, fence, reason: "hangs" } as const
  expect(world.decideItem(item)).toMatchObject(stale)
  world.now += 1000
  world.decideItem({ kind: "run-timeout", run })
  expect(world.decideItem(item)).toEqual({ ok: true })
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "timed_out" })
})

test("unplaceable ends a task that waits, and only such a one", () => {
  const { world, run } = one({ count: 2 })
  const item = (index: number) =>
    ({ kind: "unplaceable", task: { run, group: "job", index }, reason: "no node" }) as const
  expect(world.decideItem(item(1))).toEqual({ ok: true })
  expect(world.task(run, "job[1]")).toMatchObject({ result: "failed", reason: "no node" })
  expect(world.decideItem(item(1))).toMatchObject(stale)
  world.assign(run, "job[0]")
  expect(world.decideItem(item(0))).toMatchObject(stale)
  expect(world.decideItem(item(5))).toMatchObject({ ok: false, code: "not-found" })
})
