/** The election timeout by what things take: raised at once, lowered slowly, and agreed between leader and followers. */
import { assert, integer, property, record, array } from "fast-check"
import { expect, test } from "vitest"
import { type Need, Patience } from "../../../src/node/patience.ts"

const loop = (p99Ms: number): Need => ({ what: "loop delay", p99Ms })

function patience(): Patience {
  return new Patience({ baseMs: 500 })
}

test("quick machines keep what is configured", () => {
  const one = patience()
  one.measure(0, [loop(2), { what: "fsync", p99Ms: 50 }])
  expect(one.pace).toEqual({ electionMs: 500, reason: "" })
})

test("ten times the slowest thing, with its reason", () => {
  const one = patience()
  one.measure(0, [loop(140), { what: "fsync", p99Ms: 90 }])
  expect(one.pace).toEqual({ electionMs: 1400, reason: "10 × p99 loop delay 140 ms" })
})

test("it is raised at once and lowered to the most that a minute needed", () => {
  const one = patience()
  one.measure(0, [loop(100)])
  one.measure(1000, [loop(140)])
  expect(one.pace.electionMs).toBe(1400)
  for (let now = 2000; now < 61_000; now += 1000) one.measure(now, [loop(now === 30_000 ? 90 : 3)])
  expect(one.pace.electionMs).toBe(1400)
  one.measure(61_000, [loop(3)])
  expect(one.pace.electionMs).toBe(900)
  for (let now = 62_000; now <= 121_000; now += 1000) one.measure(now, [loop(3)])
  expect(one.pace).toEqual({ electionMs: 500, reason: "" })
})

test("a need that lasts holds it", () => {
  const one = patience()
  for (let now = 0; now < 300_000; now += 1000) one.measure(now, [loop(140)])
  expect(one.pace.electionMs).toBe(1400)
})

test("what would be endless is bounded, and says so", () => {
  const one = patience()
  one.measure(0, [{ what: "fsync", p99Ms: 60_000 }])
  expect(one.pace.electionMs).toBe(5000)
  expect(one.pace.reason).toContain("at most")
})

test("a follower waits for the greater of its own and the leader's", () => {
  const one = patience()
  one.follow({ electionMs: 1400, reason: "10 × p99 loop delay of n1 140 ms" })
  expect(one.pace).toEqual({ electionMs: 1400, reason: "10 × p99 loop delay of n1 140 ms" })
  one.measure(0, [loop(200)])
  expect(one.pace.electionMs).toBe(2000)
  one.follow({ electionMs: 3000, reason: "" })
  expect(one.pace.electionMs).toBe(3000)
  // The leader's word is its own to take back.
  one.follow({ electionMs: 500, reason: "" })
  expect(one.pace.electionMs).toBe(2000)
})

test("no announcement makes anybody less patient than configured, or wait for ever", () => {
  const one = patience()
  one.follow({ electionMs: 1, reason: "" })
  expect(one.pace.electionMs).toBe(500)
  one.follow({ electionMs: 1e9, reason: "" })
  expect(one.pace.electionMs).toBe(5000)
})

test("a new leader goes on with what the last one asked for", () => {
  const one = patience()
  one.follow({ electionMs: 1400, reason: "r" })
  one.lead(5000)
  one.measure(6000, [loop(1)])
  expect(one.pace).toEqual({ electionMs: 1400, reason: "r" })
  for (let now = 7000; now <= 66_000; now += 1000) one.measure(now, [loop(1)])
  expect(one.pace.electionMs).toBe(500)
})

test("never below ten times anything of the last minute", () => {
  const steps = array(
    record({ afterMs: integer({ min: 0, max: 20_000 }), ms: integer({ min: 0, max: 900 }) }),
    {
      maxLength: 60,
    },
  )
  assert(
    property(steps, (taken) => {
      const one = patience()
      const seen: { at: number; ms: number }[] = []
      let now = 0
      for (const { afterMs, ms } of taken) {
        now += afterMs
        seen.push({ at: now, ms })
        one.measure(now, [loop(ms)])
        const most = Math.max(...seen.filter(({ at }) => now - at < 60_000).map((past) => past.ms))
        expect(one.pace.electionMs).toBeGreaterThanOrEqual(Math.min(5000, 10 * most))
      }
    }),
  )
})
