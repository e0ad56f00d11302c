/** Pins and collection; and that applying asks nothing of a finished run but its own row. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { versionsLabel } from "../../../src/schema/index.ts"
import {
  apply,
  type CollectItem,
  type Command,
  createTables,
  eventPrefix,
  findRun,
  idempotencyPrefix,
  listRuns,
  planKey,
  readRun,
  rowPrefixesOf,
  runKey,
  type Tables,
  wasteKey,
} from "../../../src/state/index.ts"
import { aDeclaration, aGroup, aPlan, arbitraryPlan } from "../../support/plans.ts"
import { exited, World } from "../../support/world.ts"

function raised(): World {
  const world = new World({ nodes: ["a"] })
  const declaration = aDeclaration({ name: "a", labels: { [versionsLabel]: "1-2" } })
  world.apply({ type: "declare", items: [{ id: 1, declaration }] })
  world.apply({ type: "raise", items: [{ version: 2 }] })
  return world
}

function finished(world: World, label = "one", key = ""): string {
  const run = world.submit(aPlan([aGroup("only")], { label }), { key, bodyHash: key })
  world.perform(run, "only", exited(0))
  expect(world.run(run).state).toBe("finished")
  return run
}

const collect = (world: World, ...items: CollectItem[]): readonly unknown[] =>
  world.apply({ type: "collect", items }).results

const keysOf = (tables: Tables, run: string): string[] =>
  rowPrefixesOf(run).flatMap((prefix) => Array.from(tables.range(prefix), ([key]) => key))

test("a collected run is gone at once, its label is free, and its rows go by name", () => {
  const world = raised()
  const run = finished(world, "mine")
  expect(collect(world, { kind: "run", run })).toEqual([{ ok: true, run }])
  expect(readRun(world.tables, run)).toBeUndefined()
  expect(findRun(world.tables, "mine")).toBeUndefined()
  expect(world.tables.get(wasteKey(run))).toEqual({ run })
  const keys = keysOf(world.tables, run)
  expect(keys.length).toBeGreaterThan(3)
  collect(world, ...keys.map((key) => ({ kind: "row", run, key }) as const))
  collect(world, { kind: "emptied", run })
  expect(keysOf(world.tables, run)).toEqual([])
  expect(world.tables.get(wasteKey(run))).toBeUndefined()
  expect(world.run(finished(world, "mine")).label).toBe("mine")
})

test("what is going on, pinned, or somebody else's row is not collected", () => {
  const world = raised()
  const live = world.submit(aPlan([aGroup("only")]))
  const pinned = finished(world, "pinned")
  const other = finished(world, "other")
  world.apply({ type: "pin", items: [{ run: pinned, pinned: true }] })
  expect(
    collect(
      world,
      { kind: "run", run: live },
      { kind: "run", run: pinned },
      { kind: "row", run: other, key: planKey(other) },
    ),
  ).toMatchObject([
    { ok: false, code: "stale" },
    { ok: false, code: "stale" },
    { ok: false, code: "stale" },
  ])
  collect(world, { kind: "run", run: other })
  for (const key of [planKey(pinned), runKey(pinned), "cluster", `${planKey(other)}x`, ""]) {
    expect(collect(world, { kind: "row", run: other, key })).toMatchObject([{ code: "invalid" }])
  }
})

test("a pin is told from its absence, live and finished, and taken back without a trace", () => {
  const world = raised()
  const run = world.submit(aPlan([aGroup("only")]))
  const pin = (pinned: boolean): unknown =>
    world.apply({ type: "pin", items: [{ run, pinned }] }).results[0]
  expect(pin(true)).toEqual({ ok: true, run })
  expect(pin(true)).toEqual({ ok: true, run, existing: true })
  expect(world.run(run).pinned).toBe(true)
  world.perform(run, "only", exited(0))
  expect(world.run(run)).toMatchObject({ state: "finished", pinned: true })
  expect(pin(false)).toEqual({ ok: true, run })
  expect("pinned" in world.run(run)).toBe(false)
  expect(
    world.apply({ type: "pin", items: [{ run: "r-9999", pinned: true }] }).results,
  ).toMatchObject([{ code: "not-found" }])
})

test("C-43: a key outlives its run, and once it has expired it may be used again", () => {
  const world = raised()
  const run = finished(world, "one", "again")
  const row = Array.from(world.tables.range(idempotencyPrefix))[0]!
  collect(world, { kind: "run", run })
  const item = { principal: "anonymous", key: "again", bodyHash: "again", entryNode: "a" }
  const submit = (): unknown =>
    world.apply({
      type: "submit",
      items: [{ ...item, plan: aPlan([aGroup("only")]), placements: [] }],
    }).results[0]
  expect(submit()).toEqual({ ok: true, run, existing: true })
  expect(collect(world, { kind: "key", key: row[0], at: 1 })).toMatchObject([{ code: "stale" }])
  const { at } = row[1] as { at: number }
  expect(collect(world, { kind: "key", key: row[0], at })).toEqual([{ ok: true }])
  expect(submit()).not.toHaveProperty("existing")
  expect(collect(world, { kind: "key", key: runKey(run), at })).toMatchObject([{ code: "invalid" }])
})

test("C-43: keys are rows, so a copy of the rows knows what was accepted", () => {
  const world = raised()
  const run = finished(world, "one", "again")
  const copy = createTables()
  for (const [key, value] of world.tables.range("")) {
    copy.commit([{ key, value: JSON.parse(JSON.stringify(value)) as unknown }])
  }
  const plan = aPlan([aGroup("only")])
  const item = { principal: "anonymous", key: "again", bodyHash: "again", entryNode: "a" }
  const command: Command = { type: "submit", items: [{ ...item, plan, placements: [] }] }
  const entry = { index: world.index + 1, term: 2, version: 2, at: 1, command }
  expect(apply(copy, entry).results).toEqual([{ ok: true, run, existing: true }])
})

/** Everything of finished runs but their own rows. */
function evicted(tables: Tables): Tables {
  const copy = createTables()
  for (const [key, value] of tables.range("")) copy.commit([{ key, value }])
  for (const run of listRuns(tables, { limit: 1000, state: "finished" }).runs) {
    for (const key of keysOf(copy, run.id)) copy.commit([{ key, value: undefined }])
  }
  return copy
}

test("with or without the rows of finished runs at hand, every entry does the same", () => {
  const step = fc.record({
    kind: fc.constantFrom("place", "start", "ready", "end", "fail", "cancel", "late", "time"),
    place: fc.nat(40),
  })
  fc.assert(
    fc.property(
      fc.array(arbitraryPlan, { minLength: 1, maxLength: 3 }),
      fc.array(step, { maxLength: 40 }),
      (plans, steps) => {
        const world = new World({
          nodes: ["a", "b"],
          watch: (entry, applied, tables) => {
            expect(apply(evicted(tables), entry)).toEqual(applied)
          },
        })
        const runs = plans.map((plan) => world.submit(plan))
        const seen: ReturnType<World["live"]>[number][] = []
        for (const { kind, place } of steps) {
          const live = world.live(runs)
          const one = live[place % Math.max(1, live.length)]
          if (one) seen.push(one)
          const run = runs[place % runs.length]!
          if (kind === "place") world.decide()
          else if (kind === "time") world.now += 30_000
          else if (kind === "cancel") world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
          else if (kind === "late") {
            const late = seen[place % Math.max(1, seen.length)]
            if (late) world.report(late, "ended", exited(0))
          } else if (one && kind === "start") world.report(one, "started")
          else if (one && kind === "ready") world.report(one, "ready")
          else if (one) world.report(one, "ended", exited(kind === "end" ? 0 : 1))
        }
      },
    ),
    { numRuns: 60 },
  )
})

test("a finished run's events are rows of its own", () => {
  const world = raised()
  const run = finished(world)
  expect(Array.from(world.tables.range(eventPrefix(run))).length).toBe(world.run(run).events)
})
