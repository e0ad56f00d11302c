/** Handing over, disturbing and being removed: C-04, C-05, C-08 to C-10, C-36 to C-39, C-42. */
import { expect, test } from "vitest"
import { type ConfChange, emptyConfState, type Message } from "../../../src/consensus/index.ts"
import { entry, exchange, Member } from "./member.ts"

const context = new Uint8Array(0)

function change(type: ConfChange["changes"][number]["type"], ...ids: number[]): ConfChange {
  return { transition: "auto", changes: ids.map((id) => ({ type, id })), context }
}

function three(config: { preVote?: boolean } = {}): readonly [Member, Member, Member] {
  const members = [new Member(1, { config }), new Member(2, { config }), new Member(3, { config })]
  const [first, second, third] = members as [Member, Member, Member]
  first.raft.campaign()
  exchange(members)
  return [first, second, third]
}

function leaders(members: readonly Member[]): number[] {
  const states = members.map(({ raft }) => raft.status())
  return states.filter(({ raftState }) => raftState === "StateLeader").map(({ id }) => id)
}

test("C-09: who has everything is told at once and leads; the old leader follows", () => {
  const members = three()
  members[0].raft.transferLeadership(2)
  exchange(members)
  expect(leaders(members)).toEqual([2])
  expect(members[0].raft.status()).toMatchObject({ lead: 2, term: 2, leadTransferee: 0 })
})

test("C-09: a follower's wish is passed on to the leader", () => {
  const members = three()
  members[1].raft.transferLeadership(2)
  exchange(members)
  expect(leaders(members)).toEqual([2])
})

test("C-09: who lags first gets what it lacks", () => {
  const members = three()
  members[0].propose("x")
  exchange(members, ({ to }) => to === 3)
  members[0].raft.transferLeadership(3)
  members[0].settle()
  expect(members[0].sent.filter(({ type }) => type === "MsgTimeoutNow")).toEqual([])
  members[0].answer({ type: "MsgHeartbeatResp", from: 3 })
  members[0].answer({
    type: "MsgAppResp",
    from: 3,
    index: 3,
    reject: true,
    rejectHint: 2,
    logTerm: 1,
  })
  exchange(members)
  expect(leaders(members)).toEqual([3])
  expect(members[2].terms()).toEqual([1, 1, 2])
})

test.each([
  { to: 4, why: "a learner" },
  { to: 9, why: "a stranger" },
  { to: 1, why: "itself" },
])("C-09: leadership is not handed to $why", ({ to }) => {
  const leader = new Member(1, { voters: [1, 2, 3], learners: [4] }).lead().acknowledge(2)
  leader.take()
  leader.raft.transferLeadership(to)
  leader.settle()
  expect(leader.take("MsgTimeoutNow")).toEqual([])
  expect(leader.raft.status().leadTransferee).toBe(0)
  expect(leader.propose("x")).toBe("ok")
})

test("C-09: another wish replaces the first; the same one again starts no new time", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.raft.transferLeadership(3)
  leader.tick(6)
  leader.step({ type: "MsgHeartbeatResp", from: 2, term: 1 })
  leader.raft.transferLeadership(3)
  leader.tick(4)
  expect(leader.raft.status().leadTransferee).toBe(0)
  leader.raft.transferLeadership(3)
  leader.raft.transferLeadership(2)
  expect(leader.settle().raft.status().leadTransferee).toBe(2)
  expect(leader.take("MsgTimeoutNow")).toMatchObject([{ to: 2 }])
})

test("C-09: a transfer ends when its target is removed", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.raft.proposeConfChange(change("ConfChangeRemoveNode", 3))
  leader.settle()
  leader.raft.transferLeadership(3)
  leader.settle().acknowledge(2)
  expect(leader.raft.status()).toMatchObject({ leadTransferee: 0, confState: { voters: [1, 2] } })
})

test("C-09: who is asked to lead while its snapshot is being written does not campaign", () => {
  const member = new Member(1)
  member.holdsWrites = true
  const meta = { index: 8, term: 1, confState: { ...emptyConfState, voters: [1, 2, 3] } }
  member.step({ type: "MsgSnap", from: 2, term: 1, snapshot: { meta, data: context } })
  member.step({ type: "MsgTimeoutNow", from: 2, term: 1 })
  expect(member.raft.status()).toMatchObject({ raftState: "StateFollower", term: 1 })
})

test("C-09: a learner that is asked to lead does not campaign", () => {
  const learner = new Member(4, { learners: [4] })
  learner.step({ type: "MsgTimeoutNow", from: 2, term: 1 })
  expect(learner.raft.status()).toMatchObject({ raftState: "StateFollower", term: 1 })
})

test("C-05, C-08: one that was cut off comes back with its term, and disturbs nobody", () => {
  const members = three({ preVote: true })
  const [first, , third] = members
  third.tick(60)
  third.take()
  expect(third.raft.status()).toMatchObject({ raftState: "StatePreCandidate", term: 1 })
  // It asks once more when it is back.
  third.tick(20)
  exchange(members)
  expect(leaders(members)).toEqual([1])
  first.tick(1)
  exchange(members)
  expect(third.raft.status()).toMatchObject({ raftState: "StateFollower", term: 1, lead: 1 })
})

test("C-04: a candidate of a later term that nobody hears is freed by the leader's next message", () => {
  const members = three()
  const [first, , third] = members
  // Without pre-vote it goes ahead alone.
  third.tick(35)
  third.take()
  expect(third.raft.status()).toMatchObject({ raftState: "StateCandidate", term: 4 })
  first.tick(1)
  exchange(members)
  // The leader hears of term 4, and one of those with the whole log leads in a later one.
  expect(first.raft.status().term).toBe(4)
  first.tick(25)
  exchange(members)
  expect(leaders(members)).toHaveLength(1)
  expect(new Set(members.map(({ raft }) => raft.status().term)).size).toBe(1)
})

test("C-04: two that ask at once: both hear a refusal or one wins, and no term is wasted by asking", () => {
  const members = [1, 2, 3].map((id) => new Member(id, { config: { preVote: true } }))
  const [first, , third] = members
  first!.raft.campaign()
  third!.raft.campaign()
  exchange(members, ({ from, to }) => from + to === 4)
  expect(leaders(members)).toEqual([1])
  expect(members[1]!.raft.status()).toMatchObject({ term: 1, lead: 1 })
  third!.tick(30)
  exchange(members)
  expect(members.map(({ raft }) => raft.status().term)).toEqual([1, 1, 1])
})

test("C-08: a voter that was removed and does not know it asks in vain", () => {
  const members = three({ preVote: true })
  const [first, , third] = members
  first.raft.proposeConfChange(change("ConfChangeRemoveNode", 3))
  exchange(members, ({ to }) => to === 3)
  expect(first.raft.status().confState.voters).toEqual([1, 2])
  third.tick(60)
  exchange(members)
  expect(leaders(members)).toEqual([1])
  expect(first.raft.status().term).toBe(1)
})

test("C-10: the only voter of the new half is not alone while a change is under way", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.raft.proposeConfChange({
    ...change("ConfChangeRemoveNode", 2, 3),
    transition: "explicit",
  })
  leader.settle().acknowledge(2)
  expect(leader.raft.status().confState).toMatchObject({ voters: [1], votersOutgoing: [1, 2, 3] })
  const { commit } = leader.raft.status()
  leader.propose("x")
  expect(leader.raft.status().commit).toBe(commit)
  leader.raft.readIndex(new Uint8Array([1]))
  expect(leader.settle().reads).toEqual([])
  leader.acknowledge(3)
  expect(leader.raft.status().commit).toBe(commit + 1)
})

test("C-36: a leader that becomes a learner steps down when that is applied", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 1))
  leader.settle().acknowledge(2)
  expect(leader.raft.status()).toMatchObject({
    raftState: "StateFollower",
    confState: { voters: [2, 3], learners: [1] },
  })
})

test("C-37: a learner that has become a voter and does not know it votes, and the candidate wins by that vote", () => {
  const candidate = new Member(2, { voters: [1, 2, 3] })
  const unknowing = new Member(3, { voters: [1, 2], learners: [3] })
  candidate.raft.campaign()
  exchange([candidate, unknowing])
  expect(candidate.raft.status()).toMatchObject({ raftState: "StateLeader", term: 1 })
})

test("C-37: a learner that is promoted counts, and may campaign", () => {
  const leader = new Member(1, { voters: [1, 2], learners: [3] }).lead().acknowledge(2)
  const learner = new Member(3, { voters: [1, 2], learners: [3] })
  exchange([leader, learner])
  leader.raft.proposeConfChange(change("ConfChangeAddNode", 3))
  leader.settle().acknowledge(2)
  exchange([leader, learner])
  expect(learner.raft.status().confState.voters).toEqual([1, 2, 3])
  learner.tick(10)
  expect(learner.raft.status().raftState).toBe("StateCandidate")
})

test("C-39: of two voters one can be removed while both live; when the other is dead nothing is", () => {
  const members = [new Member(1, { voters: [1, 2] }), new Member(2, { voters: [1, 2] })] as const
  members[0].raft.campaign()
  exchange(members)
  const alone = change("ConfChangeRemoveNode", 2)
  members[0].raft.proposeConfChange(alone)
  members[0].settle()
  expect(members[0].raft.status().confState.voters).toEqual([1, 2])
  exchange(members)
  expect(members[0].raft.status().confState.voters).toEqual([1])
  // What waited for the other one is committed by the smaller quorum at once.
  expect(members[0].propose("x")).toBe("ok")
  expect(members[0].raft.status().commit).toBe(members[0].raft.status().lastIndex)
})

test("C-36: what a smaller quorum has already is committed when the change is applied", () => {
  const leader = new Member(1, { voters: [1, 2] }).lead().acknowledge(2)
  leader.raft.proposeConfChange(change("ConfChangeRemoveNode", 2))
  leader.settle()
  const { lastIndex } = leader.raft.status()
  leader.propose("x")
  leader.acknowledge(2, lastIndex)
  expect(leader.raft.status()).toMatchObject({ commit: lastIndex + 1, confState: { voters: [1] } })
})

test("C-42: a leader whose followers were heard a moment ago still asks them before it answers a read", () => {
  const members = three()
  const [first] = members
  first.tick(1)
  exchange(members)
  first.raft.readIndex(new Uint8Array([3]))
  first.settle()
  expect(first.reads).toEqual([])
  exchange(members, (message: Message) => message.to === 1)
  expect(first.reads).toEqual([])
  first.tick(1)
  exchange(members)
  expect(first.reads).toMatchObject([{ context: new Uint8Array([3]) }])
})

test("C-33: of several changes in one proposal only the first is kept", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 4))
  leader.raft.proposeConfChange(change("ConfChangeRemoveNode", 3))
  leader.settle().acknowledge(2)
  expect(leader.raft.status().confState).toMatchObject({ voters: [1, 2, 3], learners: [4] })
})

test("C-05: any answer is contact, a refusal too", () => {
  const leader = new Member(1).lead()
  for (let round = 0; round < 3; round++) {
    leader.answer({
      type: "MsgAppResp",
      from: 2,
      index: 9,
      reject: true,
      rejectHint: 1,
      logTerm: 1,
    })
    leader.tick(10)
    expect(leader.raft.status().raftState).toBe("StateLeader")
  }
  leader.tick(10)
  expect(leader.raft.status().raftState).toBe("StateFollower")
})

test("C-05: learners are no quorum", () => {
  const leader = new Member(1, { voters: [1, 2, 3], learners: [4, 5] }).lead().acknowledge(2)
  leader.tick(10)
  for (let ticks = 0; ticks < 10; ticks++) {
    leader.answer({ type: "MsgHeartbeatResp", from: 4 })
    leader.answer({ type: "MsgHeartbeatResp", from: 5 })
    leader.tick(1)
  }
  expect(leader.raft.status().raftState).toBe("StateFollower")
})

test("C-44: what was proposed to a leader that is deposed stays in its log until the next leader decides", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.propose("x")
  leader.step({ type: "MsgHeartbeat", from: 2, term: 2 })
  expect(leader.raft.status()).toMatchObject({
    raftState: "StateFollower",
    lastIndex: 3,
    commit: 2,
  })
  const append = { type: "MsgApp", from: 2, term: 2, index: 2, logTerm: 1 } as const
  leader.step({ ...append, entries: [entry(3, 2)], commit: 3 })
  expect(leader.applied.map(({ term }) => term)).toEqual([1, 2])
})

/** Voters 3 and 4 as the change that demoted 2 is committed, and only 2 (whose log is longer) has heard so. */
test("C-35: a demoted member whose log is longer tells candidates what is committed, and they win without it", () => {
  const voters = [1, 2, 3, 4]
  const members = voters.map((id) => new Member(id, { voters, config: { preVote: true } }))
  const [first, second, third, fourth] = members as [Member, Member, Member, Member]
  first.raft.campaign()
  exchange(members)
  first.raft.proposeConfChange({
    ...change("ConfChangeAddLearnerNode", 2),
    transition: "explicit",
  })
  exchange(members)
  first.raft.proposeConfChange(change("ConfChangeAddNode"))
  // 3 and 4 take the end of the change, but only 2 hears that it is committed, and gets one entry more.
  const { lastIndex: end } = first.raft.status()
  exchange(members, ({ to, commit = 0 }) => to > 2 && commit >= end)
  first.propose("more")
  exchange(members, ({ to }) => to > 2)
  expect(second.raft.status().confState).toMatchObject({ voters: [1, 3, 4], learners: [2] })
  expect(third.raft.status().confState.votersOutgoing).toEqual(voters)
  // The leader is gone for good. 2 may not campaign, and must refuse whoever has less.
  const alive = [second, third, fourth]
  for (const member of alive) member.raft.forgetLeader()
  third.raft.campaign()
  exchange(alive)
  expect(third.raft.status().confState).toMatchObject({ voters: [1, 3, 4], votersOutgoing: [] })
  for (const member of alive) member.raft.forgetLeader()
  third.raft.campaign()
  exchange(alive)
  expect(leaders(alive)).toEqual([3])
})

test("C-35: what a refusal says is committed counts only where the entry is the same", () => {
  const candidate = new Member(1, { terms: [1, 1, 2], hardState: { term: 2, vote: 0, commit: 1 } })
  candidate.raft.campaign()
  candidate.settle()
  const refusal = { type: "MsgVoteResp", from: 2, term: 3, reject: true } as const
  candidate.step({ ...refusal, commit: 4, logTerm: 1 })
  expect(candidate.raft.status()).toMatchObject({ raftState: "StateCandidate", commit: 1 })
  candidate.step({ ...refusal, commit: 9, logTerm: 2 })
  expect(candidate.raft.status().commit).toBe(1)
  candidate.step({ ...refusal, commit: 3, logTerm: 1 })
  expect(candidate.raft.status()).toMatchObject({ raftState: "StateCandidate", commit: 3 })
})
