/** Durations in bounded memory. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { DurationCounts, RecentDurations } from "../../../src/lib/index.ts"

const window = { windowMs: 30_000, steps: 6 }

test("nothing recorded is nothing", () => {
  const recent = new RecentDurations(window)
  expect([recent.quantile(0, 0.99), recent.max(0), recent.count(0)]).toEqual([0, 0, 0])
})

test("a quantile is at most an eighth above the true one, and never above the largest", () => {
  const ms = fc.double({ min: 0, max: 100_000, noNaN: true })
  fc.assert(
    fc.property(
      fc.array(ms, { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, share) => {
        const recent = new RecentDurations(window)
        for (const value of values) recent.record(5, value)
        const sorted = values.toSorted((a, b) => a - b)
        const exact = sorted[Math.max(1, Math.ceil(values.length * share)) - 1]!
        const told = recent.quantile(5, share)
        // Half a microsecond is lost by rounding.
        expect(told).toBeGreaterThanOrEqual(exact - 0.001)
        expect(told).toBeLessThanOrEqual(exact * 1.125 + 0.001)
        expect(told).toBeLessThanOrEqual(recent.max(5))
      },
    ),
  )
})

test.each([
  { slow: 0, quick: 9, p99: 0 },
  { slow: 9, quick: 0, p99: 0 },
  { slow: 1, quick: 9, p99: 0.01 },
  { slow: 2, quick: 9, p99: 400 },
  { slow: 1, quick: 98, p99: 0.01 },
  { slow: 1, quick: 199, p99: 0.01 },
  { slow: 2, quick: 199, p99: 0.01 },
  { slow: 3, quick: 199, p99: 400 },
])("of $slow slow and $quick quick ones the p99 is $p99", ({ slow, quick, p99 }) => {
  const recent = new RecentDurations(window)
  for (let count = 0; count < slow; count++) recent.record(0, 400)
  for (let count = 0; count < quick; count++) recent.record(0, 0.01)
  expect(recent.p99(0)).toBe(p99)
})

test("a window that is not full yet is taken as full", () => {
  const recent = new RecentDurations({ ...window, expected: 3000 })
  for (let count = 0; count < 30; count++) recent.record(0, 400)
  for (let count = 0; count < 100; count++) recent.record(0, 0.01)
  expect(recent.p99(0)).toBe(0.01)
  recent.record(0, 400)
  expect(recent.p99(0)).toBe(400)
})

test("what is older than the window is forgotten, what is younger is not", () => {
  const recent = new RecentDurations(window)
  recent.record(0, 400)
  for (let now = 1000; now <= 29_000; now += 1000) recent.record(now, 1)
  expect(recent.max(29_999)).toBe(400)
  for (let now = 30_000; now <= 36_000; now += 1000) recent.record(now, 1)
  expect(recent.max(36_000)).toBe(1)
  expect(recent.count(36_000)).toBeLessThanOrEqual(36)
})

test("after a silence nothing of before is left", () => {
  const recent = new RecentDurations(window)
  recent.record(0, 400)
  expect(recent.quantile(1_000_000, 1)).toBe(0)
  recent.record(1_000_000, 3)
  expect(recent.quantile(1_000_000, 1)).toBe(3)
})

test("counts by bound rise, and the last counts everything", () => {
  const counts = new DurationCounts([1, 10, 100])
  for (const ms of [0.5, 1, 5, 50, 500]) counts.record(ms)
  expect(counts.view()).toEqual({
    buckets: [
      { atMostMs: 1, count: 2 },
      { atMostMs: 10, count: 3 },
      { atMostMs: 100, count: 4 },
    ],
    count: 5,
    sumMs: 556.5,
  })
})
