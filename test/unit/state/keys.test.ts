/** Keys sort like what they name, and say what they name. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { taskName } from "../../../src/schema/index.ts"
import {
  eventKey,
  eventPrefix,
  groupKey,
  memberKey,
  parseKey,
  planKey,
  runId,
  runKey,
  sessionKey,
  taskGroupPrefix,
  taskKey,
  taskPrefix,
  taskRefOf,
} from "../../../src/state/index.ts"

const index = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const item = fc.nat(511)
const group = fc
  .tuple(fc.constantFrom("a", "b2", "0"), fc.stringMatching(/^[a-z0-9_.-]{0,8}$/))
  .map((parts) => parts.join(""))

function keyOfTask(n: number): string {
  return taskKey({ run: "r-1", group: "g", index: n })
}

test("runs sort by entry, then by their place in it", () => {
  fc.assert(
    fc.property(fc.tuple(index, item), fc.tuple(index, item), (a, b) => {
      const before = a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])
      expect(runKey(runId(...a)) < runKey(runId(...b))).toBe(before)
    }),
  )
})

test("members, tasks and events sort by their numbers", () => {
  fc.assert(
    fc.property(fc.nat(9_999_999), fc.nat(9_999_999), (a, b) => {
      expect(memberKey(a) < memberKey(b)).toBe(a < b)
      expect(keyOfTask(a) < keyOfTask(b)).toBe(a < b)
      expect(eventKey("r-1", a) < eventKey("r-1", b)).toBe(a < b)
    }),
  )
})

test("a key says what it names", () => {
  fc.assert(
    fc.property(index, item, group, fc.nat(9_999_999), (entry, place, name, member) => {
      const run = runId(entry, place)
      const task = { run, group: name, index: member }
      expect(parseKey(runKey(run))).toEqual({ table: "run", run })
      expect(parseKey(planKey(run))).toEqual({ table: "plan", run })
      expect(parseKey(eventKey(run, 7))).toEqual({ table: "event", run })
      expect(parseKey(groupKey(run, name))).toEqual({ table: "group", run, group: name })
      expect(parseKey(taskKey(task))).toEqual({ table: "task", task })
      expect(parseKey(memberKey(entry))).toEqual({ table: "member", id: entry })
      expect(parseKey(sessionKey(entry))).toEqual({ table: "session", id: entry })
      expect(taskRefOf(run, taskName({ name, count: 2 }, member))).toEqual(task)
      expect(taskRefOf(run, taskName({ name, count: 1 }, 0))).toEqual({ ...task, index: 0 })
    }),
  )
})

test("the rows of one run are not among those of another, nor of one group among another's", () => {
  const task = { run: "r-1", group: "g", index: 0 }
  expect(taskKey(task).startsWith(taskPrefix("r-1"))).toBe(true)
  expect(taskKey({ ...task, run: "r-1.1" }).startsWith(taskPrefix("r-1"))).toBe(false)
  expect(taskKey({ ...task, run: "r-10" }).startsWith(taskPrefix("r-1"))).toBe(false)
  expect(taskKey({ ...task, group: "g2" }).startsWith(taskGroupPrefix("r-1", "g"))).toBe(false)
  expect(eventKey("r-1.1", 1).startsWith(eventPrefix("r-1"))).toBe(false)
})

test("what is no run id names no run's row", () => {
  expect(runKey("r-1")).toBe(runKey("r-1.0"))
  for (const odd of ["", "r-", "r-x", "label", "r-1/x", "r-1.1234", "r-12345678901234567"]) {
    expect(parseKey(runKey(odd))).not.toEqual({ table: "run", run: odd })
    expect(runKey(odd)).not.toBe(runKey("r-1"))
  }
  expect(parseKey("future/default/1")).toBeUndefined()
})
