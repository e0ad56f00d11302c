/** The core and its driver's clock: timeouts that change while it runs, and ticks that stood still (C-45). */
import { expect, test } from "vitest"
import { Member } from "./member.ts"

function leader(): Member {
  const member = new Member(1).lead()
  expect(member.raft.status().raftState).toBe("StateLeader")
  member.take()
  return member
}

test("a longer timeout counts at once, also for a wait that has begun", () => {
  const member = new Member(1, { config: { preVote: true, random: () => 0.5 } })
  // 10 to 20 ticks, drawn 15.
  member.tick(14)
  member.raft.setElectionTicks(40)
  member.tick(45)
  expect(member.raft.status().raftState).toBe("StateFollower")
  member.tick(1)
  expect(member.raft.status().raftState).toBe("StatePreCandidate")
})

test("a shorter timeout keeps its draw between once and twice the timeout", () => {
  const member = new Member(1, { config: { preVote: true, random: () => 0.5 } })
  member.raft.setElectionTicks(40)
  member.raft.setElectionTicks(10)
  member.tick(14)
  expect(member.raft.status().raftState).toBe("StateFollower")
  member.tick(1)
  expect(member.raft.status().raftState).toBe("StatePreCandidate")
})

test("a voter is loyal to a living leader for its own timeout, whatever it is by then", () => {
  const member = new Member(1)
  member.step({ type: "MsgHeartbeat", from: 2, term: 1 })
  member.raft.setElectionTicks(30)
  member.tick(20)
  member.take()
  member.step({ type: "MsgVote", from: 3, term: 2, index: 9, logTerm: 9 })
  expect(member.take("MsgVoteResp")).toEqual([])
  member.tick(10)
  member.step({ type: "MsgVote", from: 3, term: 2, index: 9, logTerm: 9 })
  expect(member.take("MsgVoteResp")).toMatchObject([{ to: 3, term: 2 }])
})

test("a leader asks for its quorum as seldom as its timeout says", () => {
  const member = leader()
  member.raft.setElectionTicks(30)
  member.tick(29)
  expect(member.raft.status().raftState).toBe("StateLeader")
  member.tick(1)
  expect(member.raft.status().raftState).toBe("StateFollower")
})

test("C-45: one who slept waits a whole timeout before it campaigns", () => {
  const member = new Member(1, { config: { preVote: true } })
  member.tick(9)
  member.raft.wake()
  member.tick(9)
  expect(member.raft.status().raftState).toBe("StateFollower")
  member.tick(1)
  expect(member.raft.status().raftState).toBe("StatePreCandidate")
})

test("C-45: a leader that slept needs answers of now to stay in office", () => {
  const member = leader()
  const { term } = member.raft.status()
  const epoch = epochOf(member, 2)
  member.tick(5)
  // Heard just before it fell asleep: enough for the next look, had it stayed awake.
  member.step({ type: "MsgHeartbeatResp", from: 2, term, epoch })
  member.raft.wake()
  member.tick(10)
  expect(member.raft.status().raftState).toBe("StateFollower")
})

test("a leader that did not sleep stays in office by the same answers", () => {
  const member = leader()
  const { term } = member.raft.status()
  const epoch = epochOf(member, 2)
  member.tick(5)
  member.step({ type: "MsgHeartbeatResp", from: 2, term, epoch })
  member.tick(10)
  expect(member.raft.status().raftState).toBe("StateLeader")
})

test("C-45: a read that waited when its leader slept is not answered by what was sent before", () => {
  const member = leader()
  const { term, lastIndex } = member.raft.status()
  member.step({ type: "MsgAppResp", from: 2, term, index: lastIndex, epoch: epochOf(member, 2) })
  member.settle()
  member.take()
  member.raft.readIndex(new Uint8Array([1]))
  member.settle()
  const [round] = member.take("MsgHeartbeat")
  member.raft.wake()
  const late = {
    type: "MsgHeartbeatResp",
    from: round!.to,
    term,
    epoch: round!.epoch ?? 0,
  } as const
  member.step({ ...late, context: round!.context! })
  member.settle()
  expect(member.reads).toEqual([])
  // A read of now has a round of its own: the late answer confirms nothing.
  member.raft.readIndex(new Uint8Array([2]))
  member.settle()
  member.step({ ...late, context: round!.context! })
  member.settle()
  expect(member.reads).toEqual([])
  const [again] = member.take("MsgHeartbeat")
  member.step({ ...late, context: again!.context! })
  member.settle()
  expect(member.reads).toMatchObject([{ context: new Uint8Array([2]) }])
})

/** Of its newest heartbeat to that member. */
function epochOf(member: Member, id: number): number {
  member.tick(1)
  const beat = member.take("MsgHeartbeat").find((message) => message.to === id)
  return beat?.epoch ?? 0
}
