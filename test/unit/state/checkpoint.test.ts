/** Checkpoints in the log: measured, agreed, never backwards. */
import { expect, test } from "vitest"
import { checkpointKey } from "../../../src/state/index.ts"
import { World } from "../../support/world.ts"

test("C-29: a measurement changes no row and tells every replica to take its hash there", () => {
  const world = new World({ nodes: ["a"] })
  const applied = world.apply({ type: "checkpoint", items: [{ kind: "measure" }] })
  expect(applied.events).toEqual([{ type: "measure" }])
  expect(applied.results).toEqual([{ ok: true, id: world.index }])
  expect(applied.writes).toEqual([])
})

test("C-29: what was agreed is kept, and an older agreement comes too late", () => {
  const world = new World({ nodes: ["a"] })
  const agree = (index: number): unknown =>
    world.apply({ type: "checkpoint", items: [{ kind: "agreed", index, hash: `h${index}` }] })
      .results[0]
  for (let more = 0; more < 10; more++) {
    world.apply({ type: "checkpoint", items: [{ kind: "measure" }] })
  }
  expect(agree(7)).toEqual({ ok: true, id: 7 })
  expect(world.tables.get(checkpointKey)).toEqual({ index: 7, hash: "h7" })
  expect(agree(6)).toMatchObject({ ok: false, code: "stale" })
  expect(agree(7)).toMatchObject({ ok: false, code: "stale" })
  expect(agree(10_000)).toMatchObject({ ok: false, code: "stale" })
  expect(world.tables.get(checkpointKey)).toEqual({ index: 7, hash: "h7" })
})
