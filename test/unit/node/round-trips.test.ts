/** Round trips of heartbeats, as a leader measures them. */
import { expect, test } from "vitest"
import { RoundTrips } from "../../../src/node/round-trips.ts"

function beat(trips: RoundTrips, count: number, ms: number): void {
  for (let round = 0; round < count; round++) {
    trips.sent(2, round * 100)
    trips.answered(2, round * 100 + ms)
  }
}

test("each answer ends the heartbeat that waited longest", () => {
  const trips = new RoundTrips({ electionMs: 500 })
  beat(trips, 100, 4)
  const [view] = trips.view(10_000)
  expect(trips.view(10_000)).toHaveLength(1)
  expect(view?.id).toBe(2)
  expect(view?.p50Ms).toBeGreaterThanOrEqual(4)
  expect(view?.p99Ms).toBeLessThan(4.5)
})

test("a way that is slower than the heartbeats is measured as slow as it is", () => {
  const trips = new RoundTrips({ electionMs: 500 })
  for (let at = 0; at < 20_000; at += 100) {
    trips.sent(2, at)
    if (at >= 300) trips.answered(2, at + 50)
  }
  // Sent at 0, answered at 350; then the next one that waits is the one of 400, and so on.
  expect(trips.view(20_000)[0]?.p99Ms).toBeGreaterThanOrEqual(50)
})

test("what waited when the connection broke, or everything stood still, is not counted", () => {
  const trips = new RoundTrips({ electionMs: 500 })
  beat(trips, 20, 4)
  trips.sent(2, 2000)
  trips.interrupted((id) => id === 2)
  trips.answered(2, 9000)
  trips.sent(2, 9000)
  trips.interrupted()
  trips.answered(2, 12_000)
  expect(trips.view(12_000)[0]?.p99Ms).toBeLessThan(4.5)
})

test("what a cut took is not counted, a slow answer is", () => {
  const trips = new RoundTrips({ electionMs: 500 })
  beat(trips, 20, 4)
  // Twenty cuts, as heartbeats see them: sent in time, answered when it is mended.
  for (let cut = 0; cut < 20; cut++) {
    const from = 2000 + cut * 1100
    trips.sent(2, from)
    trips.answered(2, from + 1001)
  }
  expect(trips.view(25_000)[0]?.p99Ms).toBeLessThan(4.5)
  for (let slow = 0; slow < 20; slow++) {
    trips.sent(2, 25_000 + slow * 1000)
    trips.answered(2, 25_000 + slow * 1000 + 900)
  }
  expect(trips.view(45_000)[0]?.p99Ms).toBeGreaterThanOrEqual(900)
})

test("an answer that nobody asked for, and a member that is not heard", () => {
  const trips = new RoundTrips({ electionMs: 500 })
  trips.answered(2, 5)
  trips.sent(3, 5)
  expect(trips.view(10)).toEqual([])
})

test("a new leadership begins anew", () => {
  const trips = new RoundTrips({ electionMs: 500 })
  beat(trips, 20, 4)
  trips.clear()
  expect(trips.view(2000)).toEqual([])
})
