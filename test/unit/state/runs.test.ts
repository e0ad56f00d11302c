/** Runs from the outside: accepted once, labelled uniquely, cancelled, timed out. */
import { expect, test } from "vitest"
import type { Plan } from "../../../src/schema/index.ts"
import { findRun, listRuns, readPlan, type SubmitItem } from "../../../src/state/index.ts"
import { aGroup, aPair, aPlan, bookkeeping } from "../../support/plans.ts"
import { done, exited, terminated, World } from "../../support/world.ts"

const aWorld = (): World => new World({ nodes: ["a", "b"] })
const anItem = (fields: Partial<SubmitItem> = {}): SubmitItem => ({
  principal: "anonymous",
  key: "",
  bodyHash: "h",
  entryNode: "a",
  plan: aPair(),
  placements: [],
  ...fields,
})

test("a run has the id of its entry, its label, its deadline and its plan", () => {
  const world = aWorld()
  world.now = 5_000_000
  const run = world.submit(aPair({ label: "pair", timeoutMs: 60_000 }), { key: "k" })
  expect(run).toBe(`r-${world.index}`)
  expect(world.run(run)).toEqual({
    id: run,
    label: "pair",
    kind: "manifest",
    state: "active",
    principal: "anonymous",
    key: "k",
    entryNode: "a",
    createdAt: 5_000_000,
    deadlineAt: 5_060_000,
    events: 2,
  })
  expect(readPlan(world.tables, run)!.label).toBe("pair")
  expect(world.task(run, "server").state).toBe("pending")
  expect(world.task(run, "client").state).toBe("blocked")
})

test("one key is one run, whoever asks again; another body is a conflict", () => {
  const world = aWorld()
  const run = world.submit(aPair(), { key: "k", bodyHash: "h" })
  const ask = (fields: Partial<SubmitItem>): unknown =>
    world.apply({ type: "submit", items: [anItem({ key: "k", ...fields })] }).results[0]
  expect(ask({})).toEqual({ ok: true, run, existing: true })
  expect(ask({ bodyHash: "other" })).toEqual({ ok: false, code: "conflict", detail: run })
  expect(ask({ principal: "somebody" })).toMatchObject({ ok: true, run: `r-${world.index}` })
  expect(listRuns(world.tables, { limit: 10 }).runs).toHaveLength(2)
})

test("one key twice in one entry is one run", () => {
  const world = aWorld()
  const { results } = world.apply({
    type: "submit",
    items: [anItem({ key: "k" }), anItem({ key: "k" })],
  })
  const run = `r-${world.index}`
  expect(results).toEqual([
    { ok: true, run, id: world.index },
    { ok: true, run, existing: true },
  ])
})

test("principal and key are told apart however they are written", () => {
  const world = aWorld()
  world.submit(aPair(), { principal: "a", key: "b/c" })
  const other = world.submit(aPair(), { principal: "a/b", key: "c" })
  expect(other).toBe(`r-${world.index}`)
})

test("without a key every submit is a run; several of one entry are numbered", () => {
  const world = aWorld()
  const { results } = world.apply({ type: "submit", items: [anItem(), anItem(), anItem()] })
  const ids = results.map((result) => result.ok && result.run)
  const index = world.index
  expect(ids).toEqual([`r-${index}`, `r-${index}.1`, `r-${index}.2`])
})

test("a label that is taken gets the next number", () => {
  const world = aWorld()
  const labels = ["run", "run", "run-2", "run", "run-2"].map((label) =>
    world.submit(aPair({ label })),
  )
  const expected = ["run", "run-2", "run-2-2", "run-3", "run-2-3"]
  expect(labels.map((run) => world.run(run).label)).toEqual(expected)
  for (const [place, label] of expected.entries()) {
    expect(findRun(world.tables, label)!.id).toBe(labels[place])
  }
  expect(findRun(world.tables, labels[1]!)!.label).toBe("run-2")
  expect(findRun(world.tables, "nothing")).toBeUndefined()
})

test("a label stays within 128 characters", () => {
  const world = aWorld()
  const label = "x".repeat(128)
  world.submit(aPair({ label }))
  const second = world.run(world.submit(aPair({ label })))
  expect(second.label).toBe(`${"x".repeat(126)}-2`)
})

const faults: readonly (readonly [string, Plan, string])[] = [
  ["two groups of one name", aPlan([aGroup("a"), aGroup("a")]), "one name"],
  [
    "an edge to nothing",
    aPlan([aGroup("a", { after: [{ group: "b", on: "ready" }] })]),
    "a waits for b",
  ],
  ["a group of millions", aPlan([aGroup("a", { count: 1_000_000 })]), "a has more than 100000"],
  ["a place with nothing", aPlan([aGroup("a", { with: "b" })]), "a waits for b"],
  [
    "a circle",
    aPlan([
      aGroup("a", { after: [{ group: "b", on: "ready" }] }),
      aGroup("b", { after: [{ group: "a", on: "ready" }] }),
    ]),
    "a waits for itself",
  ],
]

test.each(faults)("a plan with %s could not end and is refused", (_, plan, detail) => {
  const world = aWorld()
  const { results, writes } = world.apply({ type: "submit", items: [anItem({ plan, key: "k" })] })
  expect(results).toEqual([{ ok: false, code: "invalid", detail: expect.stringContaining(detail) }])
  expect(writes).toEqual([])
})

test("placements that come along are assigned in the same entry; those that no longer hold are dropped", () => {
  const world = aWorld()
  const placement = {
    run: "",
    group: "server",
    index: 0,
    attempt: 1,
    node: 1,
    lease: 3,
    address: "x",
  }
  world.session(1, "up")
  const stale = world.submit(aPair(), { placements: [placement] })
  expect(world.task(stale, "server").state).toBe("pending")
  const lease = world.index - 1
  const run = world.submit(aPair(), { placements: [{ ...placement, lease }] })
  const { state, attempts } = world.task(run, "server")
  expect(state).toBe("active")
  expect(attempts).toMatchObject([{ n: 1, fence: world.index, node: 1, lease, state: "assigned" }])
})

test("cancel ends what waits, stops what runs, keeps the logs and has its own verdict", () => {
  const world = aWorld()
  const run = world.submit(aPair())
  world.assign(run, "server")
  const { events } = world.apply({ type: "cancel", items: [{ run, reason: "enough" }] })
  expect(events).toContainEqual({
    type: "task-stopping",
    task: { run, group: "server", index: 0 },
    reason: "the run was cancelled",
  })
  expect(world.task(run, "server")).toMatchObject({ state: "stopping", stop: "cancelled" })
  expect(world.task(run, "client")).toMatchObject({ state: "finished", result: "cancelled" })
  world.tell(run, "server", "ended", terminated)
  expect(world.task(run, "server")).toMatchObject({ state: "finished", result: "cancelled" })
  expect(world.run(run).state).toBe("ending")
  expect(world.task(run, "collect-client")).toMatchObject({ result: "skipped" })
  for (const name of ["collect-server", "bundle", "seal"]) world.perform(run, name, done)
  expect(world.run(run)).toMatchObject({
    state: "finished",
    verdict: "cancelled",
    reason: "cancelled: enough",
    cancelRequested: "enough",
    bundle: { files: 2, holders: [1] },
  })
})

test("cancelling again, or when the outcome is decided, changes nothing", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("one")]))
  const cancel = () => world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  world.perform(run, "one", exited(0))
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "succeeded" })
  const { results, writes } = cancel()
  expect(results).toEqual([{ ok: true, run, existing: true }])
  expect(writes).toEqual([])
  const other = world.submit(aPair())
  world.assign(other, "server")
  world.apply({ type: "cancel", items: [{ run: other, reason: "first" }] })
  const again = world.apply({ type: "cancel", items: [{ run: other, reason: "second" }] })
  expect(again.results).toEqual([{ ok: true, run: other, existing: true }])
  expect(world.run(other).cancelRequested).toBe("first")
  const nobody = world.apply({ type: "cancel", items: [{ run: "r-999", reason: "x" }] })
  expect(nobody.results).toMatchObject([{ ok: false, code: "not-found" }])
})

test("a run times out at its deadline and not before, once", () => {
  const world = aWorld()
  const run = world.submit(aPair({ timeoutMs: 60_000 }))
  world.assign(run, "server")
  const item = { kind: "run-timeout", run } as const
  world.now += 59_999
  expect(world.decideItem(item)).toMatchObject({ ok: false, code: "stale" })
  world.now += 1
  expect(world.decideItem(item)).toMatchObject({ ok: true })
  expect(world.task(run, "server")).toMatchObject({ state: "stopping", stop: "timed_out" })
  expect(world.task(run, "client")).toMatchObject({ state: "finished", result: "timed_out" })
  expect(world.decideItem(item)).toMatchObject({ ok: false, code: "stale" })
  world.tell(run, "server", "ended", terminated)
  expect(world.decideItem(item)).toMatchObject({ ok: false, code: "stale" })
  for (const name of ["collect-server", "bundle", "seal"]) world.perform(run, name, done)
  expect(world.run(run)).toMatchObject({
    state: "finished",
    verdict: "timed_out",
    reason: "timed out: server, client had not ended after 60 s",
  })
})

test("a run that failed before it timed out has failed", () => {
  const world = aWorld()
  const run = world.submit(aPlan([aGroup("one"), aGroup("two")], { timeoutMs: 1000 }))
  world.perform(run, "one", exited(2))
  world.assign(run, "two")
  world.now += 1000
  expect(world.decideItem({ kind: "run-timeout", run })).toMatchObject({ ok: true })
  world.tell(run, "two", "ended", terminated)
  expect(world.task(run, "two").result).toBe("timed_out")
  expect(world.run(run)).toMatchObject({
    verdict: "failed",
    reason: "one failed: exited with code 2",
  })
})

test("staging that nobody needs any more is not begun after a cancel", () => {
  const world = aWorld()
  const stage = aGroup("stage", {
    role: false,
    work: { driver: "builtin", verb: "stage", files: [] },
  })
  const role = aGroup("role", { after: [{ group: "stage", on: "succeeded" }] })
  const run = world.submit(aPlan([stage, role, ...bookkeeping([role])]))
  world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  expect(world.task(run, "stage")).toMatchObject({ state: "finished", result: "skipped" })
  for (const name of ["bundle", "seal"]) world.perform(run, name, done)
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "cancelled" })
})

test("runs are listed newest first, in pages, by state or verdict", () => {
  const world = aWorld()
  const runs = Array.from({ length: 5 }, () => world.submit(aPlan([aGroup("one")])))
  world.perform(runs[1]!, "one", exited(0))
  world.perform(runs[3]!, "one", exited(1))
  const ids = (query: Parameters<typeof listRuns>[1]): unknown[] => {
    const page = listRuns(world.tables, query)
    return [page.runs.map(({ id }) => runs.indexOf(id)), page.next && runs.indexOf(page.next)]
  }
  expect(ids({ limit: 2 })).toEqual([[4, 3], 3])
  expect(ids({ limit: 2, after: runs[3] })).toEqual([[2, 1], 1])
  expect(ids({ limit: 2, after: runs[1] })).toEqual([[0], undefined])
  expect(ids({ limit: 5 })).toEqual([[4, 3, 2, 1, 0], undefined])
  expect(ids({ limit: 5, state: "finished" })).toEqual([[3, 1], undefined])
  expect(ids({ limit: 5, state: "failed" })).toEqual([[3], undefined])
  expect(ids({ limit: 5, state: "active" })).toEqual([[4, 2, 0], undefined])
})
