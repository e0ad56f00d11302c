/** Replication and commit: C-11 to C-20, and the log that they share. */
import { expect, test } from "vitest"
import { createMemoryStorage, emptyConfState, type Message } from "../../../src/consensus/index.ts"
import { entry, exchange, Member } from "./member.ts"

test("C-11: entries of older terms are committed only through one of the leader's own", () => {
  const leader = new Member(1, { terms: [2, 2], hardState: { term: 2, vote: 0, commit: 1 } }).lead()
  expect(leader.raft.status()).toMatchObject({ term: 3, lastIndex: 4 })
  leader.acknowledge(2, 3)
  expect(leader.raft.status().commit).toBe(1)
  leader.acknowledge(2, 4)
  expect(leader.raft.status().commit).toBe(4)
})

test("C-13: an append that ends earlier, or comes late, cuts nothing", () => {
  const member = new Member(1, { terms: [1, 1, 1], hardState: { term: 1, vote: 0, commit: 1 } })
  const late = { type: "MsgApp", from: 2, term: 1, index: 1, logTerm: 1, commit: 1 } as const
  member.step({ ...late, entries: [entry(2, 1)] })
  expect(member.terms()).toEqual([1, 1, 1])
  expect(member.take("MsgAppResp")).toMatchObject([{ index: 2 }])
})

test("C-13: a conflict cuts from there on, in the same write", () => {
  const member = new Member(1, { terms: [1, 1, 1], hardState: { term: 1, vote: 0, commit: 1 } })
  member.holdsWrites = true
  const entries = [entry(2, 1), entry(3, 2)]
  member.step({ type: "MsgApp", from: 2, term: 2, index: 1, logTerm: 1, entries })
  expect(member.held).toMatchObject([
    { type: "MsgStorageAppend", entries: [{ index: 3, term: 2 }] },
  ])
  member.release()
  expect(member.terms()).toEqual([1, 2])
})

test("C-13: a leader that would replace committed entries stops the follower", () => {
  const member = new Member(1, { terms: [1, 1], hardState: { term: 1, vote: 0, commit: 3 } })
  const wrong: Omit<Message, "to"> = {
    type: "MsgApp",
    from: 2,
    term: 2,
    index: 3,
    logTerm: 1,
    entries: [entry(4, 2)],
    commit: 9,
  }
  member.step(wrong)
  expect(member.raft.status().commit).toBe(4)
  expect(() => member.step({ type: "MsgHeartbeat", from: 2, term: 2, commit: 99 })).toThrow("99")
})

test("C-14: a follower commits no further than what the append verified", () => {
  const member = new Member(1, { terms: [1, 1, 1], hardState: { term: 1, vote: 0, commit: 1 } })
  member.step({
    type: "MsgApp",
    from: 2,
    term: 2,
    index: 1,
    logTerm: 1,
    entries: [entry(2, 1)],
    commit: 4,
  })
  expect(member.raft.status().commit).toBe(2)
})

test("C-14: a heartbeat tells a follower no more than it is known to hold", () => {
  const leader = new Member(1).lead()
  leader.acknowledge(2)
  leader.take()
  leader.tick(1)
  expect(leader.take("MsgHeartbeat")).toMatchObject([
    { to: 2, commit: 2 },
    { to: 3, commit: 0 },
  ])
})

test("C-15: where the previous entry is compacted a snapshot goes out, never a guessed term", () => {
  const leader = new Member(1, {
    terms: [1, 1, 1],
    hardState: { term: 1, vote: 0, commit: 4 },
  }).lead()
  leader.acknowledge(2)
  leader.take()
  const confState = { ...emptyConfState, voters: [1, 2, 3] }
  leader.storage.createSnapshot({ index: 4, term: 1, confState })
  leader.storage.compact({ index: 4 })
  // 3 has nothing after entry 1.
  const refusal = { type: "MsgAppResp", from: 3, index: 4, reject: true } as const
  leader.answer({ ...refusal, rejectHint: 1, logTerm: 1 })
  expect(leader.take("MsgSnap")).toMatchObject([
    { to: 3, snapshot: { meta: { index: 4, term: 1 } } },
  ])
  expect(leader.take("MsgApp").filter(({ logTerm }) => logTerm === 0)).toEqual([])
})

test("C-15, B-19: also to a member whose window is full", () => {
  const leader = new Member(1, { config: { maxInflightMsgs: 1 } }).lead()
  leader.acknowledge(2).acknowledge(3)
  for (const text of ["a", "b", "c"]) {
    leader.propose(text)
    leader.acknowledge(2)
  }
  leader.take()
  const confState = { ...emptyConfState, voters: [1, 2, 3] }
  leader.storage.createSnapshot({ index: 5, term: 1, confState })
  leader.storage.compact({ index: 5 })
  leader.answer({ type: "MsgHeartbeatResp", from: 3 })
  expect(leader.take()).toMatchObject([
    { to: 3, type: "MsgSnap", snapshot: { meta: { index: 5 } } },
  ])
})

test("C-17, B-18: any snapshot from which the log can go on ends the wait for one", () => {
  const leader = new Member(1, {
    terms: [1, 1, 1],
    hardState: { term: 1, vote: 0, commit: 4 },
  }).lead()
  const confState = { ...emptyConfState, voters: [1, 2, 3] }
  leader.storage.createSnapshot({ index: 4, term: 1, confState })
  leader.storage.compact({ index: 3 })
  const refusal = { type: "MsgAppResp", from: 3, index: 4, reject: true } as const
  leader.answer({ ...refusal, rejectHint: 1, logTerm: 1 })
  const state = (): unknown => leader.raft.status().progress.find(({ id }) => id === 3)
  expect(state()).toMatchObject({ state: "StateSnapshot", pendingSnapshot: 4 })
  // It got another one, up to 3: entry 4 is still in the log.
  leader.acknowledge(3, 3)
  expect(state()).toMatchObject({ state: "StateReplicate", match: 3 })
})

test("B-21: an append keeps the follower quiet even when it is refused", () => {
  const member = new Member(1, { hardState: { term: 1, vote: 0, commit: 1 } })
  for (let round = 0; round < 3; round++) {
    member.tick(9)
    member.step({ type: "MsgApp", from: 2, term: 1, index: 9, logTerm: 1 })
  }
  expect(member.take("MsgAppResp")).toMatchObject([
    { reject: true },
    { reject: true },
    { reject: true },
  ])
  expect(member.raft.status()).toMatchObject({ raftState: "StateFollower", lead: 2, term: 1 })
})

test("C-17: the window is bounded by count, and opens with the answers", () => {
  const leader = new Member(1, { config: { maxInflightMsgs: 2 } }).lead()
  leader.acknowledge(2)
  leader.take()
  for (const text of ["a", "b", "c", "d"]) leader.propose(text)
  const toSecond = leader.take("MsgApp").filter(({ to }) => to === 2)
  expect(toSecond.map(({ entries }) => entries?.length)).toEqual([1, 1])
  leader.acknowledge(2, 4)
  // Both entries that had to wait go in one message.
  expect(leader.take("MsgApp").findLast(({ to }) => to === 2)?.entries?.length).toBe(2)
})

test("C-17: and by bytes", () => {
  const leader = new Member(1, { config: { maxInflightBytes: 100 } }).lead()
  leader.acknowledge(2)
  leader.take()
  for (let count = 0; count < 5; count++) leader.propose("x".repeat(60))
  const sent = leader.take("MsgApp").filter(({ to, entries }) => to === 2 && entries?.length === 1)
  expect(sent).toHaveLength(2)
})

test("C-18: too much uncommitted is refused until it is applied", () => {
  const leader = new Member(1, { config: { maxUncommittedEntriesSize: 100 } }).lead()
  leader.acknowledge(2)
  expect(leader.propose("x".repeat(200))).toBe("ok")
  expect(leader.propose("y")).toBe("dropped")
  leader.acknowledge(2)
  expect(leader.propose("y")).toBe("ok")
})

test("C-19: an answer to an earlier membership of the same id is ignored", () => {
  const leader = new Member(1, { voters: [1, 2, 3] }).lead()
  const before = leader.take("MsgApp").find(({ to }) => to === 3)!
  leader.acknowledge(2)
  const context = new Uint8Array(0)
  for (const type of ["ConfChangeRemoveNode", "ConfChangeAddLearnerNode"] as const) {
    leader.raft.proposeConfChange({ transition: "auto", changes: [{ type, id: 3 }], context })
    leader.settle().acknowledge(2)
  }
  const { epoch = 0 } = before
  // 3 held entry 2 when it was here before; now it starts from nothing.
  leader.answer({ type: "MsgAppResp", from: 3, index: 2, epoch })
  const match = (): number | undefined =>
    leader.raft.status().progress.find(({ id }) => id === 3)?.match
  expect(match()).toBe(0)
  leader.answer({ type: "MsgAppResp", from: 3, index: 2 })
  expect(match()).toBe(2)
})

test("C-20: a leader sends while it writes, and counts itself only when written", () => {
  const leader = new Member(1).lead()
  leader.acknowledge(2)
  leader.acknowledge(3)
  leader.take()
  leader.holdsWrites = true
  leader.propose("x")
  expect(leader.take("MsgApp")).toMatchObject([{ to: 2 }, { to: 3 }])
  leader.acknowledge(2)
  expect(leader.raft.status().commit).toBe(2)
  leader.release()
  const own = leader.raft.status().progress.find(({ id }) => id === 1)
  expect(own?.match).toBe(3)
})

test("C-44: a follower forwards no proposal, and a leader takes none from others", () => {
  const members = [new Member(1), new Member(2), new Member(3)] as const
  members[0].lead([])
  exchange(members)
  expect(members[1].propose("x")).toBe("dropped")
  const entries = [entry(0, 0, "x")]
  expect(members[0].raft.step({ type: "MsgProp", from: 2, to: 1, entries })).toBe("dropped")
})

test("B-30: a write that was overtaken does not make its replacement durable", () => {
  const member = new Member(1, { hardState: { term: 1, vote: 0, commit: 1 } })
  member.holdsWrites = true
  const append = { type: "MsgApp", index: 1, logTerm: 1 } as const
  member.step({ ...append, from: 2, term: 2, entries: [entry(2, 2, "A")] })
  member.step({ ...append, from: 3, term: 3, entries: [entry(2, 3, "B")] })
  member.step({ ...append, from: 2, term: 4, entries: [entry(2, 2, "A")] })
  const [first, ...rest] = member.held
  member.held = []
  member.work(first!)
  member.settle()
  // Same index and term as the newest write, which is not on disk yet: still to be read from memory.
  member.step({ ...append, from: 2, term: 4, entries: [entry(2, 2, "A")], commit: 2 })
  expect(member.applied).toEqual([])
  for (const write of [...rest, ...member.held.splice(0)]) member.work(write)
  member.release()
  expect(member.applied.map(({ term, index }) => [term, index])).toEqual([[2, 2]])
})

test("C-26: a commit index past the log is refused at the start", () => {
  expect(() => new Member(1, { hardState: { term: 1, vote: 0, commit: 9 } })).toThrow("9")
})

test("what was applied was committed, even if the crash came before that was written", () => {
  const { raft } = new Member(1, {
    terms: [1, 1],
    hardState: { term: 1, vote: 0, commit: 1 },
    config: { applied: 3 },
  })
  expect(raft.status()).toMatchObject({ commit: 3, applied: 3 })
})

test("a log in memory cuts at a conflict, forgets what is compacted and keeps that term", () => {
  const storage = createMemoryStorage()
  storage.append([entry(1, 1), entry(2, 1), entry(3, 1)])
  storage.append([entry(2, 2)])
  expect(storage.lastIndex()).toBe(2)
  storage.append([entry(3, 2), entry(4, 2)])
  storage.compact({ index: 3 })
  expect([storage.firstIndex(), storage.lastIndex()]).toEqual([4, 4])
  expect([storage.term(2), storage.term(3), storage.term(4), storage.term(5)]).toEqual([
    "compacted",
    2,
    2,
    "unavailable",
  ])
  expect(storage.entries(3, 4, 100)).toBe("compacted")
  expect(storage.entries(4, 6, 100)).toBe("unavailable")
  expect(() => storage.append([entry(7, 2)])).toThrow("gap")
})

test("entries are cut by size, but one always comes", () => {
  const storage = createMemoryStorage()
  storage.append([entry(1, 1, "x".repeat(50)), entry(2, 1, "x".repeat(50)), entry(3, 1, "x")])
  const count = (max: number): number => storage.entries(1, 4, max).length
  expect([count(0), count(60), count(120), count(1000)]).toEqual([1, 1, 2, 3])
})
