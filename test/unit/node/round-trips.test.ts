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
  const trips = new RoundTrips()
  beat(trips, 100, 4)
  const [view] = trips.view(10_000)
  expect(trips.view(10_000)).toHaveLength(1)
  expect(view?.id).toBe(2)
  expect(view?.p50Ms).toBeGreaterThanOrEqual(4)
  expect(view?.p99Ms).toBeLessThan(4.5)
})

test("a way that is slower than the heartbeats is measured as slow as it is", () => {
  const trips = new RoundTrips()
  for (let at = 0; at < 20_000; at += 100) {
    trips.sent(2, at)
    if (at >= 300) trips.answered(2, at + 50)
  }
  // Sent at 0, answered at 350; then the next one that waits is the one of 400, and so on.
  expect(trips.view(20_000)[0]?.p99Ms).toBeGreaterThanOrEqual(50)
})

test("what waited when the connection broke, or everything stood still, is not counted", () => {
  const trips = new RoundTrips()
  beat(trips, 20, 4)
  trips.sent(2, 2000)
  trips.interrupted((id) => id === 2)
  trips.answered(2, 9000)
  trips.sent(2, 9000)
  trips.interrupted()
  trips.answered(2, 12_000)
  expect(trips.view(12_000)[0]?.p99Ms).toBeLessThan(4.5)
})

test("an answer that nobody asked for, and a member that is not heard", () => {
  const trips = new RoundTrips()
  trips.answered(2, 5)
  trips.sent(3, 5)
  expect(trips.view(10)).toEqual([])
})

test("a new leadership begins anew", () => {
  const trips = new RoundTrips()
  beat(trips, 20, 4)
  trips.clear()
  expect(trips.view(2000)).toEqual([])
})
