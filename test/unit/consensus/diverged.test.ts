/** Disks that were rolled back behind what they had promised: one member alone knows what was committed. It stops, and
 *  says why; the majority that forgot goes on (C-13, C-49). */
import { expect, test } from "vitest"
import { emptyConfState, type ProgressView } from "../../../src/consensus/index.ts"
import { entry, exchange, Member } from "./member.ts"

const rolledBack = /disks of a majority were rolled back/

function progressOf(leader: Member, id: number): ProgressView | undefined {
  return leader.raft.status().progress.find((progress) => progress.id === id)
}

/** A leader of term 3 whose log ends with its own entry 4, which 2 holds too. */
function leaderThatForgot(): Member {
  const start = { terms: [1, 1], hardState: { term: 2, vote: 0, commit: 3 } }
  const leader = new Member(1, start).lead().acknowledge(2)
  expect(leader.raft.status()).toMatchObject({ term: 3, commit: 4, lastIndex: 4 })
  leader.take()
  return leader
}

/** It has committed up to 9, in term 2. */
function memberThatKnows(): Member {
  const terms = [1, 1, 2, 2, 2, 2, 2, 2]
  return new Member(3, { terms, hardState: { term: 2, vote: 0, commit: 9 } }).settle()
}

/** All of it is in a snapshot. */
function compacted(member: Member): Member {
  const confState = { ...emptyConfState, voters: [1, 2, 3] }
  member.storage.createSnapshot({ index: 9, term: 2, confState })
  member.storage.compact({ index: 9 })
  return member
}

test("an answer past the leader's last entry proves another log: nothing is counted, nothing more is sent", () => {
  const leader = leaderThatForgot()
  const before = progressOf(leader, 3)
  leader.answer({ type: "MsgAppResp", from: 3, index: 9 })
  expect(progressOf(leader, 3)).toEqual({
    ...before,
    diverged: true,
    paused: true,
    recentActive: true,
  })
  // Whatever makes a leader send: a proposal, an answered heartbeat, a member that is unreachable, a whole log past 9.
  for (const text of ["a", "b", "c", "d", "e", "f", "g"]) leader.propose(text)
  leader.answer({ type: "MsgHeartbeatResp", from: 3 })
  leader.raft.reportUnreachable(3)
  leader.raft.reportSnapshot(3, true)
  leader.settle().answer({ type: "MsgAppResp", from: 3, index: 9 })
  leader.tick(1)
  const sent = leader.take().filter(({ to }) => to === 3)
  expect(new Set(sent.map(({ type }) => type))).toEqual(new Set(["MsgHeartbeat"]))
  expect(sent.every(({ commit }) => commit === 0)).toBe(true)
  // By its word alone nothing is committed; the other one's counts.
  expect(leader.raft.status()).toMatchObject({ commit: 4, lastIndex: 11 })
  leader.acknowledge(2)
  expect(leader.raft.status()).toMatchObject({ raftState: "StateLeader", commit: 11 })
})

test("who is diverged is so through a change of members, until it comes back as another", () => {
  const leader = leaderThatForgot()
  leader.answer({ type: "MsgAppResp", from: 3, index: 9 })
  const context = new Uint8Array(0)
  const propose = (type: "ConfChangeAddLearnerNode" | "ConfChangeRemoveNode", id: number): void => {
    leader.raft.proposeConfChange({ transition: "auto", changes: [{ type, id }], context })
    leader.settle().acknowledge(2)
  }
  propose("ConfChangeAddLearnerNode", 4)
  expect(progressOf(leader, 3)).toMatchObject({ diverged: true })
  expect(progressOf(leader, 4)).toMatchObject({ diverged: false })
  propose("ConfChangeRemoveNode", 3)
  expect(progressOf(leader, 3)).toBeUndefined()
})

test("C-13, C-49: it stops at an append that replaces what it has committed, wherever the append begins", () => {
  const answers = [
    { index: 3, logTerm: 1, entries: [entry(4, 3)] },
    { index: 4, logTerm: 3, entries: [entry(5, 3)] },
    { index: 4, logTerm: 3, entries: [] },
    // Further up what it holds may agree by chance; one place is enough.
    { index: 2, logTerm: 1, entries: [entry(3, 1), entry(4, 2), entry(5, 3)] },
  ]
  for (const append of answers) {
    const member = memberThatKnows()
    const step = (): unknown => member.step({ type: "MsgApp", from: 1, term: 3, ...append })
    expect(step).toThrow(rolledBack)
    // It harms nobody by an answer.
    expect(member.take()).toEqual([])
  }
})

test("C-49: it stops although what it would compare is compacted: later terms do not come before earlier ones", () => {
  const member = compacted(memberThatKnows())
  const append = { type: "MsgApp", from: 1, term: 3, commit: 3 } as const
  member.step({ ...append, index: 2, logTerm: 1, entries: [entry(3, 1)] })
  expect(member.take("MsgAppResp")).toMatchObject([{ index: 9 }])
  expect(() => member.step({ ...append, index: 3, logTerm: 1, entries: [entry(4, 3)] })).toThrow(
    rolledBack,
  )
})

test("C-49: it stops at a snapshot of another past", () => {
  const member = memberThatKnows()
  const confState = { ...emptyConfState, voters: [1, 2, 3] }
  const snapshot = { meta: { index: 5, term: 3, confState }, data: new Uint8Array(0) }
  expect(() => member.step({ type: "MsgSnap", from: 1, term: 3, snapshot })).toThrow(rolledBack)
  expect(member.take()).toEqual([])
})

test.each([false, true])(
  "a majority that was rolled back elects, serves and commits; the third stops (compacted: %s)",
  (isCompacted) => {
    const start = { terms: [1, 1], hardState: { term: 2, vote: 0, commit: 3 } }
    const [first, second] = [new Member(1, start), new Member(2, start)]
    const third = isCompacted ? compacted(memberThatKnows()) : memberThatKnows()
    // The third is not there when the two find each other.
    first.raft.campaign()
    exchange([first, second])
    expect(first.raft.status()).toMatchObject({ raftState: "StateLeader", commit: 4 })
    // Then it comes, and hears of the leader.
    const all = [first, second, third]
    expect(() => {
      for (let round = 0; round < 5; round++) {
        first.propose(`x${round}`)
        first.tick(1)
        exchange(all)
      }
    }).toThrow(rolledBack)
    // Without it the two go on.
    first.propose("more")
    exchange([first, second])
    expect(second.tick(0).raft.status().lead).toBe(1)
    const { commit, lastIndex } = first.raft.status()
    expect(commit).toBe(lastIndex)
  },
)
