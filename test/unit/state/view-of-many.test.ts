/** Views of runs with many tasks: counted whole, listed in part. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { RunView } from "../../../src/schema/index.ts"
import { readGroup, readTasks, taskKey, viewOf } from "../../../src/state/index.ts"
import { aGroup, aPlan } from "../../support/plans.ts"
import { exited, World } from "../../support/world.ts"

const some = { tasks: "some" } as const

function aRun(count: number): { world: World; run: string } {
  const world = new World({ nodes: ["a", "b"] })
  const group = aGroup("job", { count, phase: "job" })
  return {
    world,
    run: world.submit(aPlan([group], { kind: "job", phases: ["init", "job", "done"] })),
  }
}

/** As counting every task gives it. */
function counted(world: World, run: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { state, result } of readTasks(world.tables, run)) {
    const word = result ?? state
    counts[word] = (counts[word] ?? 0) + 1
  }
  return counts
}

function shownCounts(view: RunView): Record<string, number> {
  const { name: _name, role: _role, count: _count, ...words } = view.groups![0]!
  return Object.fromEntries(Object.entries(words).filter(([, number]) => number > 0))
}

test("of few tasks every one is listed", () => {
  const { world, run } = aRun(200)
  const view = viewOf(world.tables, run, some)!
  expect(view.tasks).toHaveLength(200)
  expect(view.omitted).toBeUndefined()
})

test("of many, those that say most; the counts are those of all", () => {
  const act = fc.constantFrom("assign", "succeed", "fail")
  const acts = fc.array(fc.tuple(fc.nat(399), act), { maxLength: 150 })
  fc.assert(
    fc.property(acts, (list) => {
      const { world, run } = aRun(400)
      for (const [index, what] of list) {
        const name = `job[${index}]`
        if (!world.assign(run, name, { node: (index % 2) + 1 }).ok) continue
        if (what !== "assign") world.tell(run, name, "ended", exited(what === "fail" ? 1 : 0))
      }
      const view = viewOf(world.tables, run, some)!
      const all = viewOf(world.tables, run)!
      expect(shownCounts(view)).toEqual(counted(world, run))
      expect(view.groups).toEqual(all.groups)
      expect([view.phase, view.phases]).toEqual([all.phase, all.phases])
      expect(view.tasks.length + view.omitted!).toBe(400)
      expect(all.omitted).toBeUndefined()
      // What is listed is as it is among all, in order, and each once.
      const places = view.tasks.map(({ index }) => index)
      expect(places).toEqual([...new Set(places)].toSorted((a, b) => a - b))
      for (const task of view.tasks) expect(task).toEqual(all.tasks[task.index])
      const listed = (word: string): number =>
        view.tasks.filter(({ result, state }) => (result ?? state) === word).length
      const { failed = 0, active = 0, pending = 0 } = counted(world, run)
      expect(listed("failed")).toBe(Math.min(failed, 50))
      expect(listed("active")).toBe(Math.min(active, 50))
      if (pending > 0) expect(listed("pending")).toBeGreaterThanOrEqual(1)
    }),
    { numRuns: 60 },
  )
})

test("ten thousand members that nobody has touched are one line, and no row", () => {
  const { world, run } = aRun(10_000)
  const view = viewOf(world.tables, run, some)!
  expect(view.tasks.map(({ name, state }) => [name, state])).toEqual([["job[0]", "pending"]])
  expect(JSON.stringify(view).length).toBeLessThan(1500)
  expect(world.tables.get(taskKey({ run, group: "job", index: 0 }))).toBeUndefined()
  world.apply({ type: "cancel", items: [{ run, reason: "enough" }] })
  const over = viewOf(world.tables, run, some)!
  expect(over.groups).toMatchObject([{ cancelled: 10_000, pending: 0 }])
  expect(over.events).toBeLessThan(10)
  expect(readGroup(world.tables, run, "job")).toMatchObject({ finished: 10_000 })
})
