/** Raising the version: one step, only when every voter and standby understands it, and then the rows are migrated. */
import { expect, test } from "vitest"
import { declarationFrom, versionsLabel } from "../../../src/schema/index.ts"
import { activeVersion, apply, membersBehind, readMember } from "../../../src/state/index.ts"
import { entryVersionOf } from "../../../src/wire/index.ts"
import { aDeclaration } from "../../support/plans.ts"
import { World } from "../../support/world.ts"

const speaking = (name: string, versions: string): ReturnType<typeof aDeclaration> =>
  aDeclaration({ name, labels: { site: "lab", [versionsLabel]: versions } })

/** Members 1 and 2 vote; what each understands is given. */
function voters(one: string, other: string): World {
  const world = new World({ nodes: ["a", "b"] })
  world.apply({ type: "declare", items: [{ id: 1, declaration: speaking("a", one) }] })
  world.apply({ type: "declare", items: [{ id: 2, declaration: speaking("b", other) }] })
  world.apply({ type: "role", items: [{ id: 2, role: "voter" }] })
  return world
}

const raise = (world: World, version: number): unknown =>
  world.apply({ type: "raise", items: [{ version }] }).results[0]

test("C-48: the version is raised when every voter understands it, and once", () => {
  const world = voters("1-2", "1-3")
  expect(activeVersion(world.tables)).toBe(1)
  expect(raise(world, 2)).toEqual({ ok: true, id: 2 })
  expect(activeVersion(world.tables)).toBe(2)
  expect(raise(world, 2)).toEqual({ ok: true, existing: true })
})

test.each(["voter", "standby"] as const)(
  "C-48: one %s that does not understand it keeps the version down",
  (role) => {
    const world = voters("1-2", "1-2")
    world.apply({ type: "declare", items: [{ id: 2, declaration: speaking("b", "1-1") }] })
    world.apply({ type: "role", items: [{ id: 2, role }] })
    expect(raise(world, 2)).toMatchObject({ ok: false, code: "stale" })
    expect(activeVersion(world.tables)).toBe(1)
    expect(membersBehind(world.tables, 2).map(({ name }) => name)).toEqual(["b"])
  },
)

test("a worker that does not understand it keeps nobody back", () => {
  const world = voters("1-2", "1-1")
  world.apply({ type: "role", items: [{ id: 2, role: "worker" }] })
  expect(raise(world, 2)).toEqual({ ok: true, id: 2 })
})

test("no step is left out", () => {
  const world = voters("1-3", "1-3")
  const command = { type: "raise", items: [{ version: 3 }] } as const
  const entry = { index: 100, term: 1, version: 2, at: 1, command }
  expect(apply(world.tables, entry).results).toMatchObject([{ ok: false, code: "stale" }])
})

test("declared in either version, a member declares the same", () => {
  const world = voters("1-2", "1-2")
  const before = declarationFrom(readMember(world.tables, 2)!)
  raise(world, 2)
  expect(declarationFrom(readMember(world.tables, 2)!)).toEqual(before)
  world.apply({ type: "declare", items: [{ id: 2, declaration: speaking("b", "1-4") }] })
  const row = readMember(world.tables, 2)!
  expect(row.versions).toEqual({ oldest: 1, newest: 4 })
  expect(row.labels).toEqual({ site: "lab" })
  expect(declarationFrom(row)).toEqual(speaking("b", "1-4"))
})

test("C-48: before the raise nothing of version 2 is written but the raise itself", () => {
  expect(entryVersionOf({ type: "cancel", items: [] }, 1)).toBe(1)
  expect(entryVersionOf({ type: "cancel", items: [] }, 2)).toBe(2)
  expect(entryVersionOf({ type: "pin", items: [] }, 1)).toBeUndefined()
  expect(entryVersionOf({ type: "pin", items: [] }, 2)).toBe(2)
  expect(entryVersionOf({ type: "raise", items: [{ version: 2 }] }, 1)).toBe(2)
})
