/** Rows of finished runs leave memory and are read from disk: C-28's rows, seen from those who read them. */
import { expect, test } from "vitest"
import { Evictions, finishedBy, loadRows, RunViews } from "../../../src/node/memory-rows.ts"
import {
  createTables,
  planKey,
  readEvents,
  readRun,
  readTasks,
  rowPrefixesOf,
  type Tables,
  viewOf,
} from "../../../src/state/index.ts"
import { UnknownVersionError } from "../../../src/wire/index.ts"
import { createFakeStorage, FakeDisk } from "../../support/fake-storage.ts"
import { aGroup, aPlan } from "../../support/plans.ts"
import { SeededRandom } from "../../support/random.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"
import { exited, World } from "../../support/world.ts"

const mark = {
  index: 1,
  term: 1,
  confState: { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
}

/** One run that is finished and one that goes on, each with many tasks, on disk as in memory. */
async function world() {
  const made = new World({ nodes: ["a"] })
  const plan = aPlan([aGroup("shard", { count: 300 })])
  const over = made.submit(plan)
  for (let index = 0; index < 300; index++) made.perform(over, `shard[${index}]`, exited(0))
  const live = made.submit(plan)
  made.assign(live, "shard[7]")
  const clock = new VirtualClock()
  const disk = new FakeDisk({ clock, random: new SeededRandom(1), syncMs: () => 0 })
  const { tables: store } = createFakeStorage(disk)
  await clock.drive(store.open())
  const rows = Array.from(made.tables.range(""), ([key, value]) => ({
    key,
    value: JSON.stringify(value),
  }))
  await clock.drive(store.write(rows, mark, { sync: true }))
  return { over, live, clock, store, tables: made.tables }
}

const rowsIn = (tables: Tables, run: string): number =>
  rowPrefixesOf(run).reduce((sum, prefix) => sum + [...tables.range(prefix)].length, 0)

test("a node opens with the rows of what goes on, and with the run's row of what is over", async () => {
  const { over, live, store, clock, tables } = await world()
  const loaded = await clock.drive(loadRows(store))
  expect(rowsIn(loaded, over)).toBe(0)
  expect(rowsIn(loaded, live)).toBe(rowsIn(tables, live))
  expect(readRun(loaded, over)).toEqual(readRun(tables, over))
  expect(loaded.size).toBe(tables.size - rowsIn(tables, over))
})

test("rows of a newer version are not opened", async () => {
  const { store, clock } = await world()
  const value = JSON.stringify({
    cluster: "c",
    clusterId: "c",
    pristine: false,
    time: 1,
    version: 9,
  })
  await clock.drive(store.write([{ key: "cluster", value }], mark, { sync: true }))
  await expect(clock.drive(loadRows(store))).rejects.toThrow(UnknownVersionError)
})

test("eviction takes a few rows in a turn, the plan first, and ends", async () => {
  const { over, live, tables } = await world()
  const turns: (() => void)[] = []
  const evictions = new Evictions(tables, (run) => turns.push(run))
  const kept = rowsIn(tables, live)
  let before = rowsIn(tables, over)
  expect(before).toBeGreaterThan(600)
  evictions.add([over])
  for (let turn = turns.shift(); turn; turn = turns.shift()) {
    turn()
    const left = rowsIn(tables, over)
    expect(before - left).toBeLessThanOrEqual(200)
    expect(tables.get(planKey(over))).toBeUndefined()
    before = left
  }
  expect(rowsIn(tables, over)).toBe(0)
  expect(rowsIn(tables, live)).toBe(kept)
  expect(readRun(tables, over)?.state).toBe("finished")
})

test("a finished run looks the same from disk, also while it is leaving memory", async () => {
  const { over, store, clock, tables } = await world()
  const whole = viewOf(tables, over)
  const tasks = readTasks(tables, over)
  const page = readEvents(tables, over, { after: undefined, limit: 10_000 })
  const turns: (() => void)[] = []
  new Evictions(tables, (run) => turns.push(run)).add([over])
  const views = new RunViews(tables, store)
  for (let turn = 0; turn < 3; turn++) {
    turns.shift()?.()
    const view = await clock.drive(views.of(over))
    expect(viewOf(view, over)).toEqual(whole)
    expect(readTasks(view, over)).toEqual(tasks)
    expect(readEvents(view, over, { after: undefined, limit: 10_000 })).toEqual(page)
  }
})

test("runs that an entry finishes are told from its writes", async () => {
  const { tables, over, live } = await world()
  const writes = Array.from(tables.range("run/"), ([key, value]) => ({ key, value }))
  expect(writes).toHaveLength(2)
  expect(finishedBy(writes)).toEqual([over])
  expect(finishedBy([{ key: writes[0]!.key, value: undefined }])).toEqual([])
  expect(live).not.toBe(over)
})

test("an empty store is empty rows of version 1", async () => {
  const clock = new VirtualClock()
  const disk = new FakeDisk({ clock, random: new SeededRandom(1), syncMs: () => 0 })
  const { tables: store } = createFakeStorage(disk)
  await clock.drive(store.open())
  expect((await clock.drive(loadRows(store))).size).toBe(createTables().size)
})
