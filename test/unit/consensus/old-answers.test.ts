/** Answers and questions of the wrong term: C-04, C-06; and of the disk about entries that are gone. */
import { expect, test } from "vitest"
import { entry, Member } from "./member.ts"

test("C-06, B-10: a vote that was given in an earlier term does not count in this one", () => {
  const candidate = new Member(1)
  candidate.raft.campaign()
  candidate.settle()
  // The vote of term 1 is on its way when the candidate has to try again.
  candidate.raft.campaign()
  candidate.settle()
  candidate.step({ type: "MsgVoteResp", from: 2, term: 1 })
  expect(candidate.raft.status()).toMatchObject({ raftState: "StateCandidate", term: 2 })
  candidate.step({ type: "MsgVoteResp", from: 2, term: 2 })
  expect(candidate.raft.status()).toMatchObject({ raftState: "StateLeader", term: 2 })
})

test("C-04, B-20: a pre-vote asks about the term that would come, and an answer about it counts", () => {
  const asking = new Member(1, {
    config: { preVote: true },
    hardState: { term: 3, vote: 2, commit: 1 },
  })
  asking.raft.campaign()
  asking.settle()
  const [request] = asking.take("MsgPreVote")
  expect(request).toMatchObject({ to: 2, term: 4 })
  // Who has voted for another in term 3 can still say yes to term 4.
  const asked = new Member(2, {
    config: { preVote: true },
    hardState: { term: 3, vote: 3, commit: 1 },
  })
  asked.step(request!)
  const [answer] = asked.take("MsgPreVoteResp")
  expect(answer?.reject).toBeUndefined()
  asking.step(answer!)
  expect(asking.raft.status()).toMatchObject({ raftState: "StateCandidate", term: 4 })
})

test("B-30: a write of this term that names an entry of an older one does not speak for its replacement", () => {
  const member = new Member(1, { hardState: { term: 1, vote: 0, commit: 1 } })
  member.holdsWrites = true
  const append = { type: "MsgApp", index: 1, logTerm: 1 } as const
  member.step({ ...append, from: 2, term: 2, entries: [entry(2, 2, "A")] })
  // Entering term 3 is a write of its own; the newest entry that it names is still the old one.
  member.step({ type: "MsgHeartbeat", from: 3, term: 3, commit: 1 })
  member.step({ ...append, from: 3, term: 3, entries: [entry(2, 3, "B")] })
  const [first, second, ...rest] = member.held
  member.held = []
  member.work(first!)
  member.work(second!)
  member.step({ type: "MsgHeartbeat", from: 3, term: 3, commit: 2 })
  expect(member.applied).toEqual([])
  for (const write of [...rest, ...member.held.splice(0)]) member.work(write)
  member.release()
  expect(member.applied.map(({ term, index }) => [term, index])).toEqual([[3, 2]])
})
