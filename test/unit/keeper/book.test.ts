import { expect, test } from "vitest"
import * as fc from "fast-check"
import { Book } from "../../../src/keeper/book.ts"
import type { JournalRecord } from "../../../src/keeper/journal.ts"
import { anOrder } from "./orders.ts"

const accept = (fence: number, more = {}): JournalRecord => ({
  type: "accepted",
  spec: anOrder({ fence, ...more }),
  nonce: `n-${fence}`,
  bootId: "boot",
  at: fence,
})

test("the records of a book make the same book again", () => {
  const task = fc.constantFrom("a", "b", "c")
  const target = fc.record({ run: fc.constant("r-1"), task, fence: fc.integer({ min: 1, max: 6 }) })
  const record: fc.Arbitrary<JournalRecord> = fc.oneof(
    target.map((one) => accept(one.fence, one)),
    target.map((one) => ({ type: "started" as const, ...one, pid: 7, ticks: "8", at: 9 })),
    target.map((one) => ({ type: "ready" as const, ...one, at: 10 })),
    target.map((one) => ({
      ...one,
      type: "stopping" as const,
      at: 11,
      graceMs: 12,
      reason: "why",
    })),
    target.map((one) => ({
      ...one,
      type: "ended" as const,
      ending: { outcome: "unknown" as const, reason: "why", stopped: false },
    })),
    target.map((one) => ({ type: "forgotten" as const, ...one })),
    fc
      .constantFrom("c-1", "c-2")
      .map((clusterId) => ({ type: "bound" as const, clusterId, term: 2 })),
  )
  fc.assert(
    fc.property(fc.array(record, { maxLength: 40 }), (records) => {
      const book = new Book()
      for (const one of records) book.apply(one)
      const again = new Book()
      for (const one of book.records()) again.apply(one)
      expect(again.records()).toEqual(book.records())
      for (const name of ["a", "b", "c"]) {
        const key = { run: "r-1", task: name }
        expect(again.fenceOf(key)).toBe(book.fenceOf(key))
      }
      // A record that the rewritten journal repeats changes nothing.
      for (const one of book.records()) again.apply(one)
      expect(again.records()).toEqual(book.records())
    }),
  )
})

test("a fence stays known when its attempt is forgotten, and never goes down", () => {
  const book = new Book()
  book.apply(accept(5))
  book.apply({ type: "forgotten", run: "r-1", task: "server", fence: 5 })
  expect(book.find({ run: "r-1", task: "server", fence: 5 })).toBeUndefined()
  expect(book.fenceOf({ run: "r-1", task: "server" })).toBe(5)
  book.apply({ type: "forgotten", run: "r-1", task: "server", fence: 3 })
  expect(book.fenceOf({ run: "r-1", task: "server" })).toBe(5)
})

test("the fences of forgotten tasks are bounded, those of known attempts stay", () => {
  const book = new Book()
  book.apply(accept(1, { task: "kept" }))
  for (let fence = 2; fence < 20_100; fence++) {
    book.apply({ type: "forgotten", run: "r-1", task: `t-${fence}`, fence })
  }
  expect(book.fenceOf({ run: "r-1", task: "kept" })).toBe(1)
  expect(book.fenceOf({ run: "r-1", task: "t-2" })).toBe(0)
  expect(book.fenceOf({ run: "r-1", task: "t-20099" })).toBe(20_099)
  expect(book.records().length).toBeLessThanOrEqual(20_001)
})

test("another cluster begins with an empty book", () => {
  const book = new Book()
  book.apply({ type: "bound", clusterId: "c-1", term: 1 })
  book.apply(accept(5, { term: 9 }))
  expect(book.term).toBe(9)
  book.apply({ type: "bound", clusterId: "c-2", term: 1 })
  expect([book.size, book.term, book.fenceOf({ run: "r-1", task: "server" })]).toEqual([0, 1, 0])
})

test("pages go on behind the last place, in the order of acceptance", () => {
  const book = new Book()
  for (const fence of [3, 1, 2]) book.apply(accept(fence, { task: `t-${fence}` }))
  const first = book.after(0, 2)
  expect(first.map(({ spec }) => spec.fence)).toEqual([3, 1])
  expect(book.after(first[1]!.order, 2).map(({ spec }) => spec.fence)).toEqual([2])
})
