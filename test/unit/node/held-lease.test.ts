/** From when a lease counts: never from the moment that a late word is read. */
import { expect, test } from "vitest"
import { type Lease, leaseFrom } from "../../../src/node/held-lease.ts"
import type { JobRequest } from "../../../src/wire/index.ts"

const ttlMs = 6000
const leaderPeer = { peerId: "peer-1", addresses: [] }

function word(
  fields: { lease?: number; term?: number; heard?: { boot: string; at: number } } = {},
): Extract<JobRequest, { type: "lease" }> {
  const { lease = 77, term = 3, heard } = fields
  const order = { type: "lease", clusterId: "c-1", leader: 1, leaderPeer, rosterIndex: 1 } as const
  return { ...order, term, lease, ttlMs, ...(heard && { heard }) }
}

function at(now: number, before?: Lease): { now: number; boot: string; before: Lease | undefined } {
  return { now, boot: "boot-1", before }
}

test("it counts from the answer that the leader has heard", () => {
  const lease = leaseFrom(word({ heard: { boot: "boot-1", at: 9000 } }), at(10_000))
  expect(lease).toMatchObject({ renewedAt: 9000, expiresAt: 15_000, heardUntil: 16_000 })
})

test("a word that waited while the machine slept gives no right", () => {
  const before = leaseFrom(word({ heard: { boot: "boot-1", at: 9000 } }), at(10_000))
  const late = leaseFrom(word({ heard: { boot: "boot-1", at: 9900 } }), at(3_600_000, before))
  expect(late.expiresAt).toBe(15_900)
})

test("what comes in another order than it was sent shortens nothing", () => {
  const second = leaseFrom(word({ heard: { boot: "boot-1", at: 9900 } }), at(10_100))
  const first = leaseFrom(word({ heard: { boot: "boot-1", at: 9000 } }), at(10_200, second))
  expect(first.expiresAt).toBe(second.expiresAt)
})

test("an answer of an earlier process, or of none, gives no right", () => {
  for (const heard of [
    { boot: "boot-0", at: 9000 },
    { boot: "", at: 0 },
  ]) {
    expect(leaseFrom(word({ heard }), at(10_000)).expiresAt).toBeLessThan(0)
  }
})

test("a new leader that has heard nothing yet leaves the right as it was, of that session only", () => {
  const before = leaseFrom(word({ heard: { boot: "boot-1", at: 9000 } }), at(10_000))
  const nothing = { boot: "", at: 0 }
  const next = leaseFrom(word({ term: 4, heard: nothing }), at(10_500, before))
  expect(next).toMatchObject({ term: 4, expiresAt: 15_000 })
  const other = leaseFrom(word({ term: 4, lease: 99, heard: nothing }), at(10_500, before))
  expect(other.expiresAt).toBeLessThan(0)
})

test("an answer from the future is one of now: no clock goes back, but a peer may say anything", () => {
  const lease = leaseFrom(word({ heard: { boot: "boot-1", at: 99_000 } }), at(10_000))
  expect(lease.expiresAt).toBe(16_000)
})

test("a leader of an older build does not say what it heard: the right counts from now", () => {
  expect(leaseFrom(word(), at(10_000)).expiresAt).toBe(16_000)
})
