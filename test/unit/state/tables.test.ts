/** The tables in memory behave like a sorted list of pairs, at any size. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { createTables, type Write } from "../../../src/state/index.ts"

const key = fc.string({ unit: fc.constantFrom("a", "b", "/", "0"), maxLength: 4 })

test("get, range and size are those of a sorted map", () => {
  const write = fc.record({ key, value: fc.option(fc.nat(9), { nil: undefined }) })
  fc.assert(
    fc.property(
      fc.array(fc.array(write, { maxLength: 30 }), { maxLength: 20 }),
      key,
      (batches, prefix) => {
        const tables = createTables()
        const model = new Map<string, unknown>()
        for (const batch of batches) {
          tables.commit(batch)
          for (const one of batch) {
            if (one.value === undefined) model.delete(one.key)
            else model.set(one.key, one.value)
          }
          const expected = [...model]
            .filter(([one]) => one.startsWith(prefix))
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
          expect([...tables.range(prefix)]).toEqual(expected)
          expect(tables.size).toBe(model.size)
          for (const [one, value] of model) expect(tables.get(one)).toBe(value)
        }
      },
    ),
  )
})

const name = (n: number): string => `k/${String(n).padStart(5, "0")}`

/** Keys in three orders, so that chunks split at the end, in the middle and at the front. */
const orders: readonly (readonly [string, (n: number) => number])[] = [
  ["growing", (n) => n],
  ["falling", (n) => 4999 - n],
  ["scattered", (n) => (n * 2741) % 5000],
]

test.each(orders)("5000 %s keys stay in order while every third goes", (_, place) => {
  const tables = createTables()
  const all = Array.from({ length: 5000 }, (__, n) => ({ key: name(place(n)), value: n }))
  for (const write of all) tables.commit([write])
  expect(Array.from(tables.range("k/"), ([one]) => one)).toEqual(
    Array.from({ length: 5000 }, (__, n) => name(n)),
  )
  tables.commit(
    all.filter((__, n) => place(n) % 3 === 0).map((write) => ({ ...write, value: undefined })),
  )
  const left = Array.from({ length: 5000 }, (__, n) => n).filter((n) => n % 3 !== 0)
  expect(Array.from(tables.range(""), ([one]) => one)).toEqual(left.map(name))
  expect(Array.from(tables.range("k/0499"), ([one]) => one)).toEqual(
    left.filter((n) => n >= 4990).map(name),
  )
})

test("the value false, zero, null and the empty text are rows; only undefined deletes", () => {
  const tables = createTables()
  const writes: Write[] = [false, 0, null, ""].map((value, n) => ({ key: `k${n}`, value }))
  tables.commit(writes)
  expect(Array.from(tables.range("k"), ([, value]) => value)).toEqual([false, 0, null, ""])
  tables.commit([
    { key: "k1", value: undefined },
    { key: "never", value: undefined },
  ])
  expect(tables.size).toBe(3)
})

test("a range that is read across a commit says so instead of skipping rows", () => {
  const tables = createTables()
  tables.commit([
    { key: "a", value: 1 },
    { key: "b", value: 2 },
  ])
  const range = tables.range("")
  range.next()
  tables.commit([{ key: "a", value: undefined }])
  expect(() => range.next()).toThrow(/changed while a range was read/)
})

test("cleared tables are empty", () => {
  const tables = createTables()
  tables.commit([{ key: "a", value: 1 }])
  tables.clear()
  expect([tables.size, tables.get("a"), [...tables.range("")]]).toEqual([0, undefined, []])
})
