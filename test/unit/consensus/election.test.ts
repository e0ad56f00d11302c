/** Elections: C-01 to C-10. */
import { expect, test } from "vitest"
import { encodeConfChange } from "../../../src/consensus/index.ts"
import { exchange, Member } from "./member.ts"

test.each([
  { last: { index: 3, logTerm: 2 }, granted: true, why: "the same log" },
  { last: { index: 9, logTerm: 1 }, granted: false, why: "longer, but of an older term" },
  { last: { index: 2, logTerm: 3 }, granted: true, why: "shorter, but of a newer term" },
  { last: { index: 2, logTerm: 2 }, granted: false, why: "shorter in the same term" },
])("C-01: $why: granted $granted", ({ last, granted }) => {
  const member = new Member(1, { terms: [2, 2] })
  member.step({ type: "MsgVote", from: 2, term: 5, ...last })
  const [answer] = member.take("MsgVoteResp")
  expect(answer?.reject ?? false).toBe(!granted)
  expect(member.raft.status().vote).toBe(granted ? 2 : 0)
})

test("C-02: a vote leaves only when term and vote are written together", () => {
  const member = new Member(1)
  member.holdsWrites = true
  member.step({ type: "MsgVote", from: 2, term: 5, index: 1, logTerm: 1 })
  expect(member.take()).toEqual([])
  expect(member.held).toMatchObject([{ type: "MsgStorageAppend", term: 5, vote: 2 }])
  member.release()
  expect(member.take("MsgVoteResp")).toMatchObject([{ to: 2, term: 5 }])
})

test("C-02: a member that starts again remembers its vote", () => {
  const member = new Member(1, { hardState: { term: 5, vote: 2, commit: 1 } })
  member.step({ type: "MsgVote", from: 3, term: 5, index: 9, logTerm: 4 })
  expect(member.take("MsgVoteResp")).toMatchObject([{ to: 3, reject: true }])
})

test("C-03: stepping down within a term keeps the vote", () => {
  const candidate = new Member(1)
  candidate.raft.campaign()
  candidate.settle().step({ type: "MsgHeartbeat", from: 2, term: 1 })
  expect(candidate.raft.status()).toMatchObject({ raftState: "StateFollower", vote: 1 })
  const preCandidate = new Member(1, {
    config: { preVote: true },
    hardState: { term: 4, vote: 3, commit: 1 },
  })
  preCandidate.raft.campaign()
  preCandidate.settle()
  for (const from of [2, 3]) {
    preCandidate.step({ type: "MsgPreVoteResp", from, term: 4, reject: true })
  }
  expect(preCandidate.raft.status()).toMatchObject({ raftState: "StateFollower", term: 4, vote: 3 })
})

test("C-04: a pre-vote changes neither term nor vote nor the election timer", () => {
  const member = new Member(1, { config: { preVote: true } })
  member.tick(9)
  member.step({ type: "MsgPreVote", from: 2, term: 1, index: 1, logTerm: 1 })
  expect(member.take("MsgPreVoteResp")).toMatchObject([{ to: 2, term: 1 }])
  expect(member.raft.status()).toMatchObject({ term: 0, vote: 0 })
  member.tick(1)
  expect(member.raft.status().raftState).toBe("StatePreCandidate")
})

test("C-04: a pre-candidate of an older term hears the newer one, and follows it", () => {
  const newer = new Member(1, {
    config: { preVote: true },
    hardState: { term: 7, vote: 0, commit: 1 },
  })
  newer.step({ type: "MsgPreVote", from: 2, term: 4, index: 1, logTerm: 1 })
  const [answer] = newer.take("MsgPreVoteResp")
  expect(answer).toMatchObject({ reject: true, term: 7 })
  const older = new Member(2, {
    config: { preVote: true },
    hardState: { term: 3, vote: 0, commit: 1 },
  })
  older.raft.campaign()
  older.settle().step({ ...answer!, from: 1 })
  expect(older.raft.status()).toMatchObject({ term: 7, raftState: "StateFollower" })
})

test("C-05: a leader without answers for an election timeout steps down", () => {
  const leader = new Member(1).lead().acknowledge(2).tick(10)
  expect(leader.raft.status().raftState).toBe("StateLeader")
  leader.tick(10)
  expect(leader.raft.status()).toMatchObject({ raftState: "StateFollower", term: 1 })
})

test("C-05: a voter with a live leader ignores candidates, but not the one its leader named", () => {
  const members = [new Member(1), new Member(2), new Member(3)] as const
  const [first, second, third] = members
  first.lead([])
  exchange(members)
  second.step({ type: "MsgVote", from: 3, term: 9, index: 9, logTerm: 9 })
  expect(second.take()).toEqual([])
  expect(second.raft.status().term).toBe(1)
  first.raft.transferLeadership(3)
  exchange(members)
  expect(third.raft.status()).toMatchObject({ raftState: "StateLeader", term: 2 })
})

test("C-06: every kind of answer with a higher term deposes a leader", () => {
  for (const type of ["MsgAppResp", "MsgHeartbeatResp", "MsgVoteResp"] as const) {
    const leader = new Member(1).lead()
    leader.step({ type, from: 3, term: 8 })
    expect(leader.raft.status()).toMatchObject({ raftState: "StateFollower", term: 8 })
  }
})

test("C-07: the timeout is drawn again at every change of state", () => {
  const draws = [0, 0.9]
  const member = new Member(1, { config: { random: () => draws.shift() ?? 0.5 } })
  member.tick(10)
  expect(member.raft.status().term).toBe(1)
  member.tick(18)
  expect(member.raft.status().term).toBe(1)
  member.tick(1)
  expect(member.raft.status().term).toBe(2)
})

test("C-08: a learner never campaigns, but its vote is given", () => {
  const learner = new Member(4, { learners: [4] })
  learner.raft.campaign()
  learner.tick(50)
  expect(learner.raft.status().term).toBe(0)
  learner.step({ type: "MsgVote", from: 2, term: 3, index: 1, logTerm: 1 })
  expect(learner.take("MsgVoteResp")).toMatchObject([{ to: 2, term: 3 }])
})

test("C-09: a transfer ends with the leadership, and after one election timeout", () => {
  const leader = new Member(1).lead()
  leader.raft.transferLeadership(3)
  expect(leader.propose("no")).toBe("dropped")
  leader.step({ type: "MsgHeartbeatResp", from: 2, term: 1 })
  leader.step({ type: "MsgHeartbeatResp", from: 3, term: 2 })
  leader.lead()
  expect(leader.raft.status()).toMatchObject({ raftState: "StateLeader", leadTransferee: 0 })
  expect(leader.propose("yes")).toBe("ok")
  leader.raft.transferLeadership(3)
  leader.acknowledge(2)
  leader.tick(10)
  expect(leader.raft.status()).toMatchObject({ raftState: "StateLeader", leadTransferee: 0 })
})

test("C-10: the only voter leads when its own vote is written, not before", () => {
  const member = new Member(1, { voters: [1] })
  member.holdsWrites = true
  member.raft.campaign()
  member.settle()
  expect(member.raft.status().raftState).toBe("StateCandidate")
  member.release()
  expect(member.raft.status().raftState).toBe("StateLeader")
})

test("B-28: a vote counts once", () => {
  const member = new Member(1, { voters: [1, 2, 3, 4, 5] })
  member.raft.campaign()
  member.settle()
  for (let count = 0; count < 3; count++) member.step({ type: "MsgVoteResp", from: 2, term: 1 })
  expect(member.raft.status().raftState).toBe("StateCandidate")
})

test("strangers' answers and local messages from outside are refused", () => {
  const leader = new Member(1).lead()
  for (const type of [
    "MsgHup",
    "MsgCheckQuorum",
    "MsgUnreachable",
    "MsgStorageAppendResp",
  ] as const) {
    expect(leader.raft.step({ type, from: 2, to: 1, term: 1 })).toBe("dropped")
  }
  expect(leader.raft.step({ type: "MsgAppResp", from: 9, to: 1, term: 99 })).toBe("dropped")
  expect(leader.raft.status().term).toBe(1)
})

test("C-04: each round of pre-votes is counted by itself", () => {
  const member = new Member(1, { voters: [1, 2, 3, 4, 5], config: { preVote: true } })
  const grant = { type: "MsgPreVoteResp", term: 1 } as const
  member.raft.campaign()
  member.settle().step({ ...grant, from: 2 })
  // Nobody else answers: it asks again.
  member.raft.campaign()
  member.settle().step({ ...grant, from: 3 })
  expect(member.raft.status()).toMatchObject({ raftState: "StatePreCandidate", term: 0 })
  member.step({ ...grant, from: 4 })
  expect(member.raft.status()).toMatchObject({ raftState: "StateCandidate", term: 1 })
})

test.each([false, true])(
  "C-34, C-35: who learns from a refusal of a committed change does not win over it (pre-vote: %s)",
  (preVote) => {
    const member = new Member(1, { config: { preVote } })
    const add = { type: "ConfChangeAddNode", id: 4 } as const
    const data = encodeConfChange({
      transition: "auto",
      changes: [add],
      context: new Uint8Array(0),
    })
    const change = { index: 2, term: 1, type: "EntryConfChangeV2", data } as const
    member.step({ type: "MsgApp", from: 2, term: 1, index: 1, logTerm: 1, entries: [change] })
    member.raft.forgetLeader()
    member.holdsApplies = true
    member.raft.campaign()
    member.settle()
    const type = preVote ? "MsgPreVoteResp" : "MsgVoteResp"
    const refusal = { type, from: 3, term: preVote ? 1 : 2, reject: true } as const
    member.step({ ...refusal, commit: 2, logTerm: 1 })
    expect(member.raft.status()).toMatchObject({ commit: 2, applied: 1 })
    // The vote of 2 would be the second of three; with the change, there are four.
    member.step({ type, from: 2, term: 2 })
    expect(member.raft.status().raftState).toBe("StateFollower")
  },
)
