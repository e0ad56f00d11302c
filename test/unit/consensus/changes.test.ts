/** Snapshots, membership changes and reads in a running core: C-30 to C-41. */
import { expect, test } from "vitest"
import { type ConfChange, emptyConfState, type Snapshot } from "../../../src/consensus/index.ts"
import { entry, exchange, Member } from "./member.ts"

const context = new Uint8Array(0)

function change(type: ConfChange["changes"][number]["type"], ...ids: number[]): ConfChange {
  return { transition: "auto", changes: ids.map((id) => ({ type, id })), context }
}

function snapshot(index: number, term: number, voters: readonly number[]): Snapshot {
  return {
    meta: { index, term, confState: { ...emptyConfState, voters } },
    data: new Uint8Array(0),
  }
}

test("C-31, B-14: a snapshot that conflicts replaces the whole log, also behind it", () => {
  const member = new Member(1, { terms: [1, 1, 1, 1], hardState: { term: 1, vote: 0, commit: 1 } })
  member.step({ type: "MsgSnap", from: 2, term: 3, snapshot: snapshot(3, 2, [1, 2, 3]) })
  expect(member.raft.status()).toMatchObject({ commit: 3, applied: 3, lastIndex: 3 })
  expect(member.storage.lastIndex()).toBe(3)
  expect(member.take("MsgAppResp")).toMatchObject([{ to: 2, index: 3 }])
})

test("C-31, B-14: also what is still being written behind it", () => {
  const member = new Member(1)
  member.holdsWrites = true
  const entries = [2, 3, 4, 5].map((index) => entry(index, 2))
  member.step({ type: "MsgApp", from: 3, term: 2, index: 1, logTerm: 1, entries })
  member.step({ type: "MsgSnap", from: 2, term: 3, snapshot: snapshot(3, 3, [1, 2, 3]) })
  expect(member.raft.status()).toMatchObject({ commit: 3, lastIndex: 3 })
  member.release()
  expect([member.storage.firstIndex(), member.storage.lastIndex()]).toEqual([4, 3])
})

test("C-31: the answer to a snapshot waits until it is written", () => {
  const member = new Member(1)
  member.holdsWrites = true
  member.step({ type: "MsgSnap", from: 2, term: 3, snapshot: snapshot(8, 2, [1, 2, 3]) })
  expect(member.take()).toEqual([])
  member.raft.campaign()
  member.settle()
  expect(member.raft.status().raftState).toBe("StateFollower")
  member.release()
  expect(member.take("MsgAppResp")).toMatchObject([{ index: 8 }])
})

test("C-31, B-13: a snapshot's membership replaces the one in force", () => {
  const member = new Member(1, { voters: [1, 2, 3, 4, 5] })
  member.step({ type: "MsgSnap", from: 2, term: 3, snapshot: snapshot(8, 2, [1, 2]) })
  expect(member.raft.status().confState.voters).toEqual([1, 2])
})

test("C-31: a change that a snapshot has overtaken is not applied again", () => {
  const member = new Member(1)
  member.holdsWrites = true
  member.step({ type: "MsgSnap", from: 2, term: 3, snapshot: snapshot(8, 2, [1, 2, 3, 4]) })
  member.raft.applyConfChange(change("ConfChangeAddNode", 9))
  expect(member.raft.status().confState.voters).toEqual([1, 2, 3, 4])
})

test("C-31: an old snapshot is answered with what is committed", () => {
  const member = new Member(1, { terms: [1, 1, 1], hardState: { term: 1, vote: 0, commit: 4 } })
  member.step({ type: "MsgSnap", from: 2, term: 1, snapshot: snapshot(3, 1, [1, 2, 3]) })
  expect(member.take("MsgAppResp")).toMatchObject([{ index: 4 }])
  expect(member.raft.status()).toMatchObject({ commit: 4, lastIndex: 4 })
})

test("a snapshot older than the change that added this member is restored all the same", () => {
  const member = new Member(4, { voters: [] })
  member.step({ type: "MsgSnap", from: 2, term: 3, snapshot: snapshot(8, 2, [1, 2, 3]) })
  expect(member.raft.status()).toMatchObject({ commit: 8, confState: { voters: [1, 2, 3] } })
  member.tick(50)
  expect(member.raft.status().raftState).toBe("StateFollower")
})

test("C-33: a second change becomes an empty entry until the first is applied", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 4))
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 5))
  leader.settle().acknowledge(2)
  expect(leader.applied.map(({ type }) => type)).toEqual([
    "EntryNormal",
    "EntryConfChangeV2",
    "EntryNormal",
  ])
  expect(leader.raft.status().confState.learners).toEqual([4])
})

test("C-33: a new leader first applies what its log may hold", () => {
  const leader = new Member(1, { terms: [1] }).lead()
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 4))
  leader.settle().acknowledge(2)
  expect(leader.raft.status().confState.learners).toEqual([])
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 4))
  leader.settle().acknowledge(2)
  expect(leader.raft.status().confState.learners).toEqual([4])
})

test("C-34, B-16: nobody campaigns over a committed change that is not applied", () => {
  const leader = new Member(2)
  const follower = new Member(1)
  leader.lead([1])
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 4))
  follower.holdsApplies = true
  exchange([leader, follower])
  expect(follower.raft.status()).toMatchObject({ commit: 3, applied: 1 })
  follower.raft.campaign()
  follower.settle()
  expect(follower.raft.status().raftState).toBe("StateFollower")
  follower.holdsApplies = false
  follower.release()
  follower.raft.campaign()
  follower.settle()
  expect(follower.raft.status().raftState).toBe("StateCandidate")
})

test("C-35, B-17: a joint change ends by itself, once", () => {
  const members = [1, 2, 3].map((id) => new Member(id))
  const [leader] = members
  leader!.lead([])
  exchange(members)
  leader!.raft.proposeConfChange(change("ConfChangeRemoveNode", 2, 3))
  for (const text of ["a", "b"]) leader!.propose(text)
  exchange(members)
  expect(leader!.raft.status().confState).toMatchObject({ voters: [1], votersOutgoing: [] })
  // The term's first entry, the change, two proposals, and one end of the change.
  expect(leader!.applied.map(({ type }) => type)).toEqual([
    "EntryNormal",
    "EntryConfChangeV2",
    "EntryNormal",
    "EntryNormal",
    "EntryConfChangeV2",
  ])
})

test("C-35, B-17: a new leader ends the joint change that it finds", () => {
  const members = [1, 2, 3].map((id) => new Member(id))
  const [first, second] = members
  first!.lead([])
  exchange(members)
  first!.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 4, 5))
  first!.settle()
  // The first leader is gone as soon as the others hold the change.
  exchange(members, ({ from, type, commit = 0 }) => from === 1 && (type !== "MsgApp" || commit > 2))
  second!.raft.step({ type: "MsgTimeoutNow", from: 1, to: 2, term: 1 })
  exchange(members.slice(1))
  expect(second!.raft.status()).toMatchObject({
    raftState: "StateLeader",
    confState: { learners: [4, 5], votersOutgoing: [] },
  })
})

test("C-36: a leader that is removed steps down when that is applied, and takes no more", () => {
  const members = [1, 2, 3].map((id) => new Member(id))
  const [leader] = members
  leader!.lead([])
  exchange(members)
  leader!.raft.proposeConfChange(change("ConfChangeRemoveNode", 1))
  exchange(members)
  expect(leader!.raft.status().raftState).toBe("StateFollower")
  expect(leader!.propose("x")).toBe("dropped")
  leader!.tick(50)
  expect(leader!.raft.status().raftState).toBe("StateFollower")
})

test("C-37: a learner gets entries and counts for nothing", () => {
  const leader = new Member(1, { voters: [1, 2, 3], learners: [4] }).lead()
  expect(leader.take("MsgApp").map(({ to }) => to)).toEqual([2, 3, 4])
  leader.acknowledge(4)
  expect(leader.raft.status().commit).toBe(1)
  leader.acknowledge(3)
  expect(leader.raft.status().commit).toBe(2)
})

test("C-41, B-32: a read waits for a commit of the leader's own term, also at the only voter", () => {
  const alone = new Member(1, {
    voters: [1],
    terms: [1, 1],
    hardState: { term: 1, vote: 1, commit: 1 },
  })
  alone.holdsWrites = true
  alone.raft.campaign()
  alone.settle().release()
  expect(alone.raft.status().raftState).toBe("StateLeader")
  alone.raft.readIndex(new Uint8Array([7]))
  expect(alone.settle().reads).toEqual([])
  alone.release()
  alone.release()
  alone.release()
  expect(alone.reads).toEqual([{ index: 4, context: new Uint8Array([7]) }])
})

test("C-41, B-11: heartbeats that were sent before a read do not confirm it, whatever its context", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.take()
  const same = new Uint8Array([1])
  leader.raft.readIndex(same)
  leader.settle()
  const [first] = leader.take("MsgHeartbeat")
  leader.answer({ type: "MsgHeartbeatResp", from: 2, context: first!.context! })
  expect(leader.reads).toHaveLength(1)
  leader.raft.readIndex(same)
  leader.settle()
  leader.answer({ type: "MsgHeartbeatResp", from: 2, context: first!.context! })
  expect(leader.reads).toHaveLength(1)
  const second = leader.take("MsgHeartbeat").at(-1)!
  leader.answer({ type: "MsgHeartbeatResp", from: 3, context: second.context! })
  expect(leader.reads).toHaveLength(2)
})

test("C-41: reads of one batch share a round of heartbeats", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.take()
  for (let count = 0; count < 5; count++) leader.raft.readIndex(new Uint8Array([count]))
  leader.settle()
  const heartbeats = leader.take("MsgHeartbeat")
  expect(heartbeats).toHaveLength(2)
  leader.answer({ type: "MsgHeartbeatResp", from: 2, context: heartbeats[0]!.context! })
  expect(leader.reads.map(({ context: [tag] }) => tag)).toEqual([0, 1, 2, 3, 4])
})

test("C-41: a follower's read goes to the leader and comes back", () => {
  const members = [1, 2, 3].map((id) => new Member(id))
  members[0]!.lead([])
  exchange(members)
  members[1]!.raft.readIndex(new Uint8Array([9]))
  exchange(members)
  expect(members[1]!.reads).toEqual([{ index: 2, context: new Uint8Array([9]) }])
})

test("C-18: too many waiting reads are dropped, not kept", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.take()
  for (let count = 0; count < 5000; count++) leader.raft.readIndex(context)
  leader.settle()
  const [heartbeat] = leader.take("MsgHeartbeat")
  leader.answer({ type: "MsgHeartbeatResp", from: 2, context: heartbeat!.context! })
  expect(leader.reads).toHaveLength(4096)
})

test("a follower that lags is sent what it lacks after its refusal, in one step back", () => {
  const leader = new Member(1, { terms: [1, 1, 4, 4, 5] }).lead()
  leader.take()
  // Its log: terms 1 1 2 2 2 2, so it meets ours at index 3.
  leader.answer({ type: "MsgAppResp", from: 3, index: 6, reject: true, rejectHint: 6, logTerm: 2 })
  const [probe] = leader.take("MsgApp")
  expect(probe).toMatchObject({ to: 3, index: 3, logTerm: 1 })
  expect(probe!.entries!.map(({ index }) => index)).toEqual([4, 5, 6, 7])
  const follower = new Member(3, { terms: [1, 1, 2, 2, 2, 2] })
  follower.step({ type: "MsgApp", from: 1, term: 6, index: 6, logTerm: 5, entries: [entry(7, 6)] })
  expect(follower.take("MsgAppResp")).toMatchObject([{ reject: true, rejectHint: 6, logTerm: 2 }])
})

test("C-35, C-41: while members change a read needs a majority of both halves", () => {
  const leader = new Member(1, { voters: [1, 2, 3], votersOutgoing: [1, 4, 5] }).lead([2, 3, 4, 5])
  for (const from of [2, 4]) leader.acknowledge(from)
  expect(leader.raft.status()).toMatchObject({ raftState: "StateLeader", commit: 2 })
  leader.take()
  leader.raft.readIndex(new Uint8Array([7]))
  leader.settle()
  const { context: round } = leader.take("MsgHeartbeat")[0]!
  for (const from of [2, 3]) {
    leader.answer({ type: "MsgHeartbeatResp", from, context: round! })
    expect(leader.reads).toEqual([])
  }
  leader.answer({ type: "MsgHeartbeatResp", from: 4, context: round! })
  expect(leader.reads).toEqual([{ index: 2, context: new Uint8Array([7]) }])
})

test("C-35, C-41: nor is the half that goes enough", () => {
  const leader = new Member(1, { voters: [1, 2, 3], votersOutgoing: [1, 4, 5] }).lead([2, 3, 4, 5])
  for (const from of [2, 4]) leader.acknowledge(from)
  leader.take()
  leader.raft.readIndex(new Uint8Array([7]))
  leader.settle()
  const { context: round } = leader.take("MsgHeartbeat")[0]!
  for (const from of [4, 5]) leader.answer({ type: "MsgHeartbeatResp", from, context: round! })
  expect(leader.reads).toEqual([])
})

test("C-19: a change of others leaves a member's session as it was: what it answers to earlier appends counts", () => {
  const leader = new Member(1).lead().acknowledge(2).acknowledge(3)
  leader.raft.proposeConfChange(change("ConfChangeAddLearnerNode", 4))
  const [before] = leader
    .settle()
    .take("MsgApp")
    .filter(({ to, entries }) => to === 3 && entries?.length === 1)
  leader.acknowledge(2)
  expect(leader.raft.status().confState.learners).toEqual([4])
  leader.answer({ type: "MsgAppResp", from: 3, index: 3, epoch: before!.epoch! })
  expect(leader.raft.status().progress.find(({ id }) => id === 3)?.match).toBe(3)
})
