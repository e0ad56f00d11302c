/** The phases of seed 000 are a view of tasks: each step of a run shows where it should. */
import { expect, test } from "vitest"
import { phasesOf, readGroups, readPlan, readTasks, viewOf } from "../../../src/state/index.ts"
import { aGroup, aPair, aPlan } from "../../support/plans.ts"
import { done, exited, terminated, World } from "../../support/world.ts"

const initials = { waiting: ".", active: "a", completed: "C", failed: "F", skipped: "s" } as const

/** One letter a phase: init, server start, ready, client start, done, server stop, collect, bundle, done. */
function letters(world: World, run: string): string {
  const view = viewOf(world.tables, run)!
  return `${view.phases.map(({ state }) => initials[state]).join("")} ${view.phase}`
}

test("a run that goes well passes through its phases in order", () => {
  const world = new World({ nodes: ["a", "b"] })
  const run = world.submit(aPair())
  const seen: string[] = [letters(world, run)]
  const step = (act: () => void): void => {
    act()
    seen.push(letters(world, run))
  }
  step(() => world.assign(run, "server"))
  step(() => world.tell(run, "server", "started"))
  step(() => world.tell(run, "server", "ready"))
  step(() => world.assign(run, "client", { node: 2 }))
  step(() => world.tell(run, "client", "started"))
  step(() => world.tell(run, "client", "ended", exited(0)))
  step(() => world.tell(run, "server", "ended", terminated))
  step(() => world.assign(run, "collect-server"))
  step(() => world.tell(run, "collect-server", "ended", done))
  step(() => world.perform(run, "collect-client", done, 2))
  step(() => world.assign(run, "bundle"))
  step(() => world.tell(run, "bundle", "ended", done))
  step(() => world.perform(run, "seal", done))
  expect(seen).toEqual([
    "C........ server_start",
    "Ca....... server_start",
    "CCa...... server_ready",
    "CCC...... client_start",
    "CCCa..... client_start",
    "CCCCa.... client_done",
    "CCCCCa... server_stop",
    "CCCCCC... collect",
    "CCCCCCa.. collect",
    "CCCCCCa.. collect",
    "CCCCCCC.. bundle",
    "CCCCCCCa. bundle",
    "CCCCCCCa. bundle",
    "CCCCCCCCC done",
  ])
})

test("a failing client shows in its phase; a server that never is ready fails that one and skips the client's", () => {
  const world = new World({ nodes: ["a"] })
  const run = world.submit(aPair())
  world.assign(run, "server")
  world.tell(run, "server", "ready")
  world.perform(run, "client", exited(1))
  expect(letters(world, run)).toBe("CCCCFa... server_stop")
  const other = world.submit(aPair())
  world.assign(other, "server")
  world.tell(other, "server", "started")
  world.tell(other, "server", "ended", exited(1))
  expect(letters(world, other)).toBe("CCFssF... collect")
})

test("a cancelled run skips what it did not come to", () => {
  const world = new World({ nodes: ["a"] })
  const run = world.submit(aPair())
  world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  // Nothing ran, so there is nothing to collect; bundle waits to be placed.
  expect(letters(world, run)).toBe("Cssssss.. bundle")
})

test("a phase that the run has no work for is skipped", () => {
  const world = new World({ nodes: ["a"] })
  const work = aGroup("job", { phase: "work" })
  const last = aGroup("last", { phase: "done", after: [{ group: "job", on: "finished" }] })
  const plan = aPlan([work, last], { phases: ["init", "odd", "work", "done"] })
  const run = world.submit(plan)
  expect(letters(world, run)).toBe("Cs.. work")
  world.perform(run, "job", exited(0))
  expect(letters(world, run)).toBe("CsC. done")
  world.assign(run, "last")
  expect(letters(world, run)).toBe("CsCa done")
  world.tell(run, "last", "ended", exited(0))
  expect(letters(world, run)).toBe("CsCC done")
})

test("tasks show the node of their newest attempt; groups of many show every member", () => {
  const world = new World({ nodes: ["a", "b"] })
  const run = world.submit(aPlan([aGroup("shard", { count: 3 })]))
  world.assign(run, "shard[1]", { node: 2 })
  const view = viewOf(world.tables, run)!
  expect(view.tasks.map(({ name, node, state }) => [name, node, state])).toEqual([
    ["shard[0]", undefined, "pending"],
    ["shard[1]", "b", "active"],
    ["shard[2]", undefined, "pending"],
  ])
  expect(viewOf(world.tables, "r-999")).toBeUndefined()
})

test("phases follow from rows alone", () => {
  const world = new World({ nodes: ["a"] })
  const run = world.submit(aPair())
  const { tables } = world
  const plan = readPlan(tables, run)!
  const phases = phasesOf(world.run(run), plan, readTasks(tables, run), readGroups(tables, run))
  expect(phases).toEqual(viewOf(tables, run)!.phases)
})
