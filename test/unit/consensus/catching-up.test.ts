/** How two logs find where they meet, and what a new leader may do when: C-12, C-16, and the log's own parts. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { type ConfChange, emptyConfState } from "../../../src/consensus/index.ts"
import { entry, exchange, Member } from "./member.ts"

const learner: ConfChange = {
  transition: "auto",
  changes: [{ type: "ConfChangeAddLearnerNode", id: 4 }],
  context: new Uint8Array(0),
}

test("C-12: a term begins with an empty entry of its own, before everything that is proposed in it", () => {
  const leader = new Member(1, { terms: [1], hardState: { term: 1, vote: 0, commit: 1 } }).lead()
  leader.propose("x")
  leader.acknowledge(2)
  expect(leader.applied.map(({ term, data }) => [term, data.length])).toEqual([
    [1, 0],
    [2, 0],
    [2, 1],
  ])
})

test("C-12: no change of members is taken before the term's first entry is applied", () => {
  const leader = new Member(1, { terms: [1], hardState: { term: 1, vote: 0, commit: 1 } }).lead()
  leader.holdsApplies = true
  leader.raft.proposeConfChange(learner)
  leader.settle().acknowledge(2)
  // Committed is not enough.
  leader.raft.proposeConfChange(learner)
  leader.settle().acknowledge(2)
  leader.holdsApplies = false
  while (leader.held.length > 0) leader.release()
  expect(leader.applied.every(({ type }) => type === "EntryNormal")).toBe(true)
  leader.raft.proposeConfChange(learner)
  leader.settle().acknowledge(2)
  expect(leader.raft.status().confState.learners).toEqual([4])
})

test("C-12: a read that is asked at once is answered when the term's first entry is committed, with that index", () => {
  const leader = new Member(1, { terms: [1, 1], hardState: { term: 1, vote: 0, commit: 3 } }).lead()
  leader.raft.readIndex(new Uint8Array([5]))
  leader.settle().answer({ type: "MsgHeartbeatResp", from: 2 })
  expect(leader.reads).toEqual([])
  leader.acknowledge(2)
  const heartbeat = leader.take("MsgHeartbeat").at(-1)!
  leader.answer({ type: "MsgHeartbeatResp", from: 2, context: heartbeat.context! })
  expect(leader.reads).toEqual([{ index: 4, context: new Uint8Array([5]) }])
})

test.each([
  // The leader's terms, the follower's, and where the next probe must begin.
  { ours: [1, 3, 3, 3, 5, 5], theirs: [1, 1, 1, 1, 1, 1], probe: 2, why: "skips our run of terms" },
  { ours: [1, 1, 1, 1, 1, 1], theirs: [1, 1], probe: 3, why: "begins at its end" },
  { ours: [1, 1, 1, 4], theirs: [1, 1, 1, 2, 2, 2], probe: 4, why: "skips its run of terms" },
  { ours: [3, 4], theirs: [1, 1, 1], probe: 1, why: "goes to the beginning" },
])("C-16: one refusal $why", ({ ours, theirs, probe }) => {
  const hardState = { term: 5, vote: 0, commit: 1 }
  const leader = new Member(1, { terms: ours, hardState })
  const follower = new Member(2, { terms: theirs, hardState })
  leader.lead([3])
  const first = leader.take("MsgApp").find(({ to }) => to === 2)!
  const [refusal] = follower.step(first).take("MsgAppResp")
  expect(refusal?.reject).toBe(true)
  leader.step(refusal!)
  expect(leader.take("MsgApp").find(({ to }) => to === 2)).toMatchObject({ index: probe })
})

/** Two logs with a common beginning; then each goes its own way, and a term has one leader. */
const history = fc.record({
  common: fc.array(fc.integer({ min: 1, max: 2 }), { maxLength: 8 }),
  ours: fc.array(fc.constantFrom(4, 6, 8), { maxLength: 25 }),
  theirs: fc.array(fc.constantFrom(3, 5, 7), { maxLength: 25 }),
})

function ascending(terms: readonly number[]): number[] {
  return terms.toSorted((left, right) => left - right)
}

test("C-16: logs meet after no more refusals than there are terms, however long they are", () => {
  fc.assert(
    fc.property(history, ({ common, ours, theirs }) => {
      const hardState = { term: 8, vote: 0, commit: 1 }
      const begin = ascending(common)
      const leader = new Member(1, { terms: [...begin, ...ascending(ours)], hardState })
      const follower = new Member(2, { terms: [...begin, ...ascending(theirs)], hardState })
      const terms = new Set([...leader.terms(), ...follower.terms()]).size
      leader.lead([3])
      let refusals = 0
      exchange([leader, follower], ({ type, reject }) => {
        if (type === "MsgAppResp" && reject) refusals++
        return false
      })
      expect(follower.terms()).toEqual(leader.terms())
      expect(refusals).toBeLessThanOrEqual(terms + 1)
    }),
  )
})

test("C-15: an append whose previous entry is compacted is no conflict: the answer is what is committed", () => {
  const member = new Member(1, { terms: [1, 1, 1], hardState: { term: 1, vote: 0, commit: 4 } })
  member.settle().storage.compact({ index: 4 })
  const entries = [entry(3, 1), entry(4, 1)]
  member.step({ type: "MsgApp", from: 2, term: 1, index: 2, logTerm: 1, entries })
  const [answer] = member.take("MsgAppResp")
  expect(answer).toMatchObject({ index: 4 })
  expect(answer?.reject).toBeUndefined()
})

test("C-22: an append is answered when it is written, not before; the commit index may be told at once", () => {
  const member = new Member(1)
  member.holdsWrites = true
  const first = { type: "MsgApp", from: 2, term: 1, index: 1, logTerm: 1 } as const
  member.step({ ...first, entries: [entry(2, 1, "x")], commit: 2 })
  expect(member.take("MsgAppResp")).toEqual([])
  expect(member.applied).toEqual([])
  member.release()
  expect(member.take("MsgAppResp")).toMatchObject([{ index: 2 }])
  member.release()
  expect(member.applied.map(({ index }) => index)).toEqual([2])
})

test("C-26: a log that ends before what was applied is refused at the start", () => {
  expect(() => new Member(1, { terms: [1], config: { applied: 5 } })).toThrow("5")
})

test("C-30: a snapshot that is sent carries index, term and members", () => {
  const leader = new Member(1, { terms: [1, 1, 1], hardState: { term: 1, vote: 0, commit: 4 } })
  leader.lead().acknowledge(2).take()
  const { confState } = leader.raft.status()
  leader.storage.createSnapshot({ index: 4, term: 1, confState })
  leader.storage.compact({ index: 4 })
  const refusal = { type: "MsgAppResp", from: 3, index: 4, reject: true } as const
  leader.answer({ ...refusal, rejectHint: 1, logTerm: 1 })
  const [sent] = leader.take("MsgSnap")
  expect(sent?.snapshot?.meta).toEqual({ index: 4, term: 1, confState })
  const follower = new Member(3).step(sent!)
  expect(follower.raft.status()).toMatchObject({ commit: 4, applied: 4, confState })
})

test("C-31: a snapshot whose last entry is there already only says that it is committed", () => {
  const member = new Member(1, { terms: [1, 1, 1], hardState: { term: 1, vote: 0, commit: 1 } })
  const meta = { index: 3, term: 1, confState: { ...emptyConfState, voters: [1, 2, 3] } }
  member.step({ type: "MsgSnap", from: 2, term: 1, snapshot: { meta, data: new Uint8Array(0) } })
  expect(member.raft.status()).toMatchObject({ commit: 3, lastIndex: 4 })
  // Entry 4 may still be replaced.
  expect(member.take("MsgAppResp")).toMatchObject([{ index: 3 }])
})

/** Found by the simulation (seed 10,455 at the time): the members of the snapshot were stored beside an older index. */
test("C-30, C-31: a change that is applied while a snapshot is being written is told by the members before it", () => {
  const member = new Member(1)
  member.holdsWrites = true
  const meta = { index: 8, term: 2, confState: { ...emptyConfState, voters: [1, 2, 3, 4] } }
  member.step({ type: "MsgSnap", from: 2, term: 3, snapshot: { meta, data: new Uint8Array(0) } })
  expect(member.raft.applyConfChange(learner)).toMatchObject({ voters: [1, 2, 3], learners: [4] })
  expect(member.raft.status().confState).toMatchObject({ voters: [1, 2, 3, 4], learners: [] })
})

test("C-34: a change that is the one committed entry left to apply is seen before a campaign", () => {
  const leader = new Member(2).lead([1])
  const follower = new Member(1)
  exchange([leader, follower])
  follower.holdsApplies = true
  leader.raft.proposeConfChange(learner)
  exchange([leader, follower])
  expect(follower.raft.status()).toMatchObject({ commit: 3, applied: 2 })
  follower.raft.campaign()
  expect(follower.settle().raft.status().raftState).toBe("StateFollower")
})
