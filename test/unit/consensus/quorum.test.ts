/** Properties of majorities, alone and in pairs. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  jointCommitted,
  jointVote,
  majorityCommitted,
  majorityVote,
} from "../../../src/consensus/quorum.ts"

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 7 })
const indexes = fc.array(fc.option(fc.nat(20), { nil: undefined }), {
  minLength: 10,
  maxLength: 10,
})
const votes = fc.array(fc.constantFrom(true, false, undefined), { minLength: 10, maxLength: 10 })

function votesOf(cast: readonly (boolean | undefined)[]): Map<number, boolean> {
  const pairs = [...cast.entries()].filter(
    (pair): pair is [number, boolean] => pair[1] !== undefined,
  )
  return new Map(pairs)
}

test("committed is the highest index that more than half hold", () => {
  fc.assert(
    fc.property(ids, indexes, (voters, held) => {
      fc.pre(voters.length > 0)
      const committed = majorityCommitted(new Set(voters), (id) => held[id])
      const holding = (index: number): number =>
        voters.filter((id) => (held[id] ?? 0) >= index).length
      expect(holding(committed) * 2).toBeGreaterThan(voters.length)
      expect(holding(committed + 1) * 2).toBeLessThanOrEqual(voters.length)
    }),
  )
})

test("a pair commits what both halves commit; an empty half says nothing", () => {
  fc.assert(
    fc.property(ids, ids, indexes, (left, right, held) => {
      const incoming = new Set(left)
      const outgoing = new Set(right)
      const look = (id: number): number | undefined => held[id]
      const alone = majorityCommitted(incoming, look)
      expect(jointCommitted({ incoming, outgoing: new Set() }, look)).toBe(alone)
      const both = jointCommitted({ incoming, outgoing }, look)
      expect(both).toBe(Math.min(alone, majorityCommitted(outgoing, look)))
      expect(jointCommitted({ incoming: outgoing, outgoing: incoming }, look)).toBe(both)
    }),
  )
})

test("a vote is pending exactly while the open votes can still decide it either way", () => {
  fc.assert(
    fc.property(ids, ids, votes, (left, right, cast) => {
      const voters = { incoming: new Set(left), outgoing: new Set(right) }
      const withOpen = (vote: boolean): Map<number, boolean> =>
        votesOf(cast.map((known) => known ?? vote))
      const best = jointVote(voters, withOpen(true))
      const worst = jointVote(voters, withOpen(false))
      const expected = best === worst ? best : "VotePending"
      expect(jointVote(voters, votesOf(cast))).toBe(expected)
    }),
  )
})

test("no two candidates win over the same voters", () => {
  fc.assert(
    fc.property(ids, votes, (voters, cast) => {
      fc.pre(voters.length > 0)
      const first = votesOf(cast)
      const second = new Map([...first].map(([id, vote]) => [id, !vote] as const))
      const results = [majorityVote(new Set(voters), first), majorityVote(new Set(voters), second)]
      expect(results).not.toEqual(["VoteWon", "VoteWon"])
    }),
  )
})
