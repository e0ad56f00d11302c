/** What ends mean: edges, skipped groups, the verdict and its reason, the bundle. */
import { expect, test } from "vitest"
import type { Edge, Ending, TaskGroup } from "../../../src/schema/index.ts"
import { readEvents, readGroup, readTasks, runEventsMax } from "../../../src/state/index.ts"
import { aGroup, aPair, aPlan, aProcess, bookkeeping, readiness } from "../../support/plans.ts"
import { done, exited, World } from "../../support/world.ts"

const aWorld = (): World => new World({ nodes: ["a", "b"] })

/** How far an upstream task comes, and what that means for one that waits for each mark. */
const stages: readonly (readonly [
  string,
  (world: World, run: string) => void,
  Record<Edge["on"], string>,
])[] = [
  [
    "assigned",
    () => {},
    { started: "blocked", ready: "blocked", succeeded: "blocked", finished: "blocked" },
  ],
  [
    "started",
    (world, run) => void world.tell(run, "up", "started"),
    { started: "pending", ready: "blocked", succeeded: "blocked", finished: "blocked" },
  ],
  [
    "ready",
    (world, run) => void world.tell(run, "up", "ready"),
    { started: "pending", ready: "pending", succeeded: "blocked", finished: "blocked" },
  ],
  [
    "ended with 0 before it was ready",
    (world, run) => void world.tell(run, "up", "ended", exited(0)),
    { started: "pending", ready: "skipped", succeeded: "pending", finished: "pending" },
  ],
  [
    "ended with 1",
    (world, run) => void world.tell(run, "up", "ended", exited(1)),
    { started: "pending", ready: "skipped", succeeded: "skipped", finished: "pending" },
  ],
  [
    "not started",
    (world, run) => void world.tell(run, "up", "ended", { outcome: "not_started", stopped: false }),
    { started: "skipped", ready: "skipped", succeeded: "skipped", finished: "pending" },
  ],
]

test.each(stages)("an upstream that is %s opens and closes the right edges", (_, act, expected) => {
  for (const on of ["started", "ready", "succeeded", "finished"] as const) {
    const world = aWorld()
    const up = aGroup("up", { work: aProcess({ readiness }) })
    const run = world.submit(aPlan([up, aGroup("down", { after: [{ group: "up", on }] })]))
    world.assign(run, "up")
    act(world, run)
    const { state, result } = world.task(run, "down")
    expect(result ?? state, on).toBe(expected[on])
  }
})

test("an edge waits for all members of its group", () => {
  const world = aWorld()
  const shards = aGroup("shard", { count: 3 })
  const run = world.submit(
    aPlan([shards, aGroup("merge", { after: [{ group: "shard", on: "succeeded" }] })]),
  )
  world.perform(run, "shard[0]", exited(0))
  world.perform(run, "shard[2]", exited(0))
  expect(world.task(run, "merge").state).toBe("blocked")
  world.perform(run, "shard[1]", exited(0))
  expect(world.task(run, "merge").state).toBe("pending")
})

test("all edges must be met", () => {
  const world = aWorld()
  const after: Edge[] = [
    { group: "a", on: "succeeded" },
    { group: "b", on: "started" },
  ]
  const run = world.submit(aPlan([aGroup("a"), aGroup("b"), aGroup("c", { after })]))
  world.perform(run, "a", exited(0))
  expect(world.task(run, "c").state).toBe("blocked")
  world.assign(run, "b")
  world.tell(run, "b", "started")
  expect(world.task(run, "c").state).toBe("pending")
})

test("skipping cascades, says why, and costs no task row", () => {
  const world = aWorld()
  const chain = ["a", "b", "c"].map((name, place) =>
    aGroup(name, {
      count: place === 2 ? 1000 : 1,
      after: place === 0 ? [] : [{ group: "ab"[place - 1]!, on: "succeeded" as const }],
    }),
  )
  const run = world.submit(aPlan(chain))
  world.perform(run, "a", exited(9))
  expect(world.task(run, "b")).toMatchObject({
    result: "skipped",
    reason: "a did not succeed (exited with code 9)",
  })
  expect(world.task(run, "c[999]")).toMatchObject({
    result: "skipped",
    reason: "b did not succeed (a did not succeed (exited with code 9))",
  })
  expect(readTasks(world.tables, run)).toHaveLength(1002)
  expect(Array.from(world.tables.range("task/"))).toHaveLength(1)
  expect(readGroup(world.tables, run, "c")).toMatchObject({ finished: 1000, untouched: "finished" })
  expect(world.run(run)).toMatchObject({
    state: "finished",
    verdict: "failed",
    reason: "a failed: exited with code 9",
  })
})

test("who would be placed with a task that never ran is skipped", () => {
  const world = aWorld()
  const a = aGroup("a")
  const b = aGroup("b", { after: [{ group: "a", on: "succeeded" }] })
  const run = world.submit(aPlan([a, b, ...bookkeeping([a, b])]))
  world.perform(run, "a", exited(1))
  expect(world.task(run, "collect-a").state).toBe("pending")
  expect(world.task(run, "collect-b")).toMatchObject({
    result: "skipped",
    reason: "b never ran on any node",
  })
})

test("… also when it was waiting already for that task's node", () => {
  const world = aWorld()
  const a = aGroup("a")
  const b = aGroup("b", { after: [{ group: "a", on: "succeeded" }], vital: false })
  const beside = aGroup("beside", { with: "b", vital: false })
  const run = world.submit(aPlan([beside, a, b]))
  expect(world.task(run, "beside").state).toBe("pending")
  world.perform(run, "a", exited(1))
  expect(world.task(run, "beside")).toMatchObject({ state: "finished", result: "skipped" })
  expect(world.run(run).state).toBe("finished")
})

// ---------------------------------------------------------------- verdicts

const verdicts: readonly (readonly [
  string,
  Partial<TaskGroup>,
  Ending,
  string,
  string | undefined,
])[] = [
  ["exit 0", {}, exited(0), "succeeded", undefined],
  ["exit 3", {}, exited(3), "failed", "job failed: exited with code 3"],
  [
    "a signal",
    {},
    { outcome: "signalled", signal: "SIGSEGV", stopped: false },
    "failed",
    "job failed: was killed by SIGSEGV",
  ],
  [
    "a deadline",
    {},
    { outcome: "signalled", signal: "SIGKILL", stopped: true, reason: "ran longer than 5 s" },
    "failed",
    "job failed: ran longer than 5 s",
  ],
  [
    "no program",
    {},
    { outcome: "not_started", stopped: false },
    "failed",
    "job failed: could not be started",
  ],
  [
    "an unknown end",
    {},
    { outcome: "unknown", stopped: false },
    "lost",
    "job was lost: how it ended is not known",
  ],
  ["exit 3 of what is not vital", { vital: false }, exited(3), "succeeded", undefined],
]

test.each(verdicts)("%s", (...[, fields, ending, verdict, reason]) => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job", fields)]))
  world.perform(run, "job", ending)
  const row = world.run(run)
  expect([row.state, row.verdict, row.reason, row.endedAt]).toEqual([
    "finished",
    verdict,
    reason,
    world.now,
  ])
})

test("the first cause is the reason", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("a"), aGroup("b"), aGroup("c")]))
  world.perform(run, "b", exited(2))
  expect(world.run(run)).toMatchObject({ state: "active", verdict: "failed" })
  world.perform(run, "a", exited(1))
  world.perform(run, "c", exited(0))
  expect(world.run(run).reason).toBe("b failed: exited with code 2")
})

test("a role that could not be served by troupe itself makes the run lost, not failed", () => {
  const world = aWorld()
  const stage = aGroup("stage", {
    role: false,
    work: { driver: "builtin", verb: "stage", files: [] },
  })
  const role = aGroup("role", { after: [{ group: "stage", on: "succeeded" }] })
  const run = world.submit(aPlan([stage, role]))
  world.perform(run, "stage", {
    outcome: "exited",
    exitCode: 1,
    reason: "blob ab is gone",
    stopped: false,
  })
  expect(world.run(run)).toMatchObject({
    state: "finished",
    verdict: "lost",
    reason: "role was skipped: stage did not succeed (blob ab is gone)",
  })
})

test("a plan with nothing in it is over at once", () => {
  const world = aWorld()
  const run = world.submit(aPlan([]))
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "succeeded" })
})

/** A whole run whose roles end as told, up to its bookkeeping. */
function played(client: Ending): { world: World; run: string } {
  const world = aWorld()
  const run = world.submit(aPair())
  world.assign(run, "server")
  world.tell(run, "server", "ready")
  world.perform(run, "client", client, 2)
  world.tell(run, "server", "ended", { outcome: "signalled", signal: "SIGTERM", stopped: true })
  return { world, run }
}

test("the verdict is decided by the roles and final with the bundle", () => {
  const { world, run } = played(exited(0))
  expect(world.run(run)).toMatchObject({ state: "ending", verdict: "succeeded" })
  expect(world.assign(run, "collect-server", { node: 2 })).toMatchObject({ ok: false })
  world.perform(run, "collect-server", done, 1)
  world.perform(run, "collect-client", done, 2)
  world.perform(run, "bundle", done, 2)
  expect(world.run(run).bundle).toBeUndefined()
  world.perform(run, "seal", done, 2)
  expect(world.run(run)).toMatchObject({
    state: "finished",
    verdict: "succeeded",
    bundle: { digest: "ab".repeat(32), bytes: 10, files: 2, holders: [2] },
  })
})

test("a failed run is bundled like any other", () => {
  const { world, run } = played(exited(4))
  for (const [name, node] of [
    ["collect-server", 1],
    ["collect-client", 2],
    ["bundle", 1],
    ["seal", 1],
  ] as const) {
    world.perform(run, name, done, node)
  }
  expect(world.run(run)).toMatchObject({
    verdict: "failed",
    reason: "client failed: exited with code 4",
    bundle: { files: 2 },
  })
})

const full: Ending = { outcome: "exited", exitCode: 1, reason: "disk full", stopped: false }

test("a run that went well is lost when its bundle could not be made", () => {
  const { world, run } = played(exited(0))
  world.perform(run, "collect-server", done, 1)
  world.perform(run, "collect-client", done, 2)
  world.perform(run, "bundle", done)
  world.perform(run, "seal", full)
  expect(world.run(run)).toMatchObject({
    state: "finished",
    verdict: "lost",
    reason: "bundle could not be made: seal (disk full)",
  })
})

test("… also when sealing was never tried, since there was nothing to seal", () => {
  const { world, run } = played(exited(0))
  world.perform(run, "collect-server", done, 1)
  world.perform(run, "collect-client", done, 2)
  world.perform(run, "bundle", full)
  expect(world.task(run, "bundle").state).toBe("pending")
  world.perform(run, "bundle", full)
  expect(world.task(run, "seal").result).toBe("skipped")
  expect(world.run(run)).toMatchObject({
    verdict: "lost",
    reason: "bundle failed: disk full (attempt 2)",
  })
})

test("a failed run stays failed when its bundle could not be made", () => {
  const { world, run } = played(exited(4))
  world.perform(run, "collect-server", done, 1)
  world.perform(run, "collect-client", done, 2)
  world.perform(run, "bundle", done)
  world.perform(run, "seal", full)
  expect(world.run(run)).toMatchObject({
    verdict: "failed",
    reason: "client failed: exited with code 4",
  })
})

test("what could not be collected of a run that went well makes it lost; the bundle is still made", () => {
  const { world, run } = played(exited(0))
  world.perform(run, "collect-server", full, 1)
  world.perform(run, "collect-client", done, 2)
  world.perform(run, "bundle", done)
  world.perform(run, "seal", done)
  expect(world.run(run)).toMatchObject({
    verdict: "lost",
    reason: "collect-server failed: disk full",
    bundle: { files: 2 },
  })
})

test("a bundle is only that of the seal task", () => {
  const { world, run } = played(exited(0))
  world.assign(run, "collect-server", { node: 1 })
  const task = world.task(run, "collect-server")
  const { n, fence } = task.attempts[0]!
  const bundle = { digest: "cd".repeat(32), bytes: 1, files: 1, holders: [1] }
  const report = {
    ...task,
    attempt: n,
    fence,
    state: "ended",
    at: 1,
    ending: done,
    bundle,
  } as const
  world.apply({ type: "report", items: [report] })
  expect(world.task(run, "collect-server").result).toBe("succeeded")
  expect(world.run(run).bundle).toBeUndefined()
})

// ---------------------------------------------------------------- events

test("a run tells its story in order", () => {
  const { world, run } = played(exited(0))
  const { events, last, ended } = readEvents(world.tables, run, { after: undefined, limit: 100 })
  expect(events.map(({ type, task }) => (task === undefined ? type : `${type} ${task}`))).toEqual([
    "run-accepted",
    "task-pending server",
    "task-assigned server",
    "task-started server",
    "task-ready server",
    "task-pending client",
    "task-assigned client",
    "task-ended client",
    "task-stopping server",
    "task-pending collect-client",
    "task-ended server",
    "task-pending collect-server",
    "run-ending",
  ])
  expect(events.map(({ id }) => Number(id.split("-")[1]))).toEqual(events.map((_, n) => n + 1))
  expect(events.every(({ id }, n) => n === 0 || parseInt(id) >= parseInt(events[n - 1]!.id))).toBe(
    true,
  )
  expect(last).toBe(events.at(-1)!.id)
  expect(ended).toBe(false)
  expect(world.run(run).events).toBe(events.length)
})

test("events are read on from an id, page by page, to the end", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("one")]))
  world.perform(run, "one", exited(0))
  const all = readEvents(world.tables, run, { after: undefined, limit: 100 })
  expect(all.ended).toBe(true)
  const first = readEvents(world.tables, run, { after: undefined, limit: 2 })
  expect(first.events).toEqual(all.events.slice(0, 2))
  expect(first.ended).toBe(false)
  const rest = readEvents(world.tables, run, { after: first.last, limit: 100 })
  expect(rest).toEqual({ events: all.events.slice(2), last: all.last, reset: false, ended: true })
  expect(readEvents(world.tables, run, { after: all.last, limit: 100 })).toEqual({
    events: [],
    last: all.last,
    reset: false,
    ended: true,
  })
})

test.each(["1-999", "0-1", "x", ""])(
  "after the unknown event %j the reader starts over",
  (after) => {
    const world = aWorld()
    const run = world.submit(aPair())
    const page = readEvents(world.tables, run, { after, limit: 10 })
    expect(page).toEqual({ events: [], last: `${world.index}-2`, reset: true, ended: false })
  },
)

test("of more than ten thousand events the oldest go", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("job", { life: "service" })]))
  // Per try: assigned, started (by its end), ended, pending again.
  const rounds = Math.ceil(runEventsMax / 3) + 10
  for (let n = 0; n < rounds; n++) world.perform(run, "job", exited(1))
  const rows = Array.from(world.tables.range("event/"), ([key]) => key)
  expect(rows).toHaveLength(runEventsMax)
  const total = world.run(run).events
  expect(total).toBeGreaterThan(runEventsMax)
  const page = readEvents(world.tables, run, { after: undefined, limit: 1 })
  expect(Number(page.events[0]!.id.split("-")[1])).toBe(total - runEventsMax + 1)
  const gone = readEvents(world.tables, run, { after: `${world.index}-1`, limit: 1 })
  expect(gone.reset).toBe(true)
})
