/** What a leader sends to one member, and when it waits: C-17, C-18; progress on its own, and against a model. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { Inflights, Progress } from "../../../src/consensus/progress.ts"
import { emptyConfState, type Entry, type ProgressView } from "../../../src/consensus/index.ts"
import { Member } from "./member.ts"

const limits = { maxInflightMsgs: 3, maxInflightBytes: 50 }

function progressOf(leader: Member, id: number): ProgressView {
  const found = leader.raft.status().progress.find((progress) => progress.id === id)
  if (!found) throw new Error(`no progress of ${id}`)
  return found
}

function sentTo(leader: Member, id: number): number {
  return leader.take("MsgApp").filter(({ to }) => to === id).length
}

test("C-17: a full window lets one empty append through for each heartbeat that is answered", () => {
  const leader = new Member(1, { config: { maxInflightMsgs: 2 } }).lead().acknowledge(2)
  leader.take()
  for (const text of ["a", "b", "c"]) leader.propose(text)
  expect(sentTo(leader, 2)).toBe(2)
  expect(progressOf(leader, 2)).toMatchObject({ paused: true, inflight: 2 })
  for (let round = 0; round < 3; round++) {
    leader.answer({ type: "MsgHeartbeatResp", from: 2 })
    expect(leader.take("MsgApp")).toMatchObject([{ to: 2, entries: [] }])
    expect(progressOf(leader, 2)).toMatchObject({ paused: true, inflight: 2 })
  }
})

test("C-17: an answer frees all that it covers, an old one nothing", () => {
  const leader = new Member(1, { config: { maxInflightMsgs: 3 } }).lead().acknowledge(2)
  leader.take()
  for (const text of ["a", "b", "c"]) leader.propose(text)
  expect(progressOf(leader, 2).inflight).toBe(3)
  leader.acknowledge(2, 4)
  expect(progressOf(leader, 2).inflight).toBe(1)
  leader.acknowledge(2, 3)
  expect(progressOf(leader, 2)).toMatchObject({ inflight: 1, match: 4 })
})

test("C-17: while it is probed a member gets one append, until it answers or a heartbeat is answered", () => {
  const leader = new Member(1).lead()
  leader.raft.reportUnreachable(2)
  leader.settle().take()
  leader.propose("a")
  leader.propose("b")
  expect(sentTo(leader, 2)).toBeLessThanOrEqual(1)
  expect(progressOf(leader, 2)).toMatchObject({ state: "StateProbe", paused: true })
  leader.answer({ type: "MsgHeartbeatResp", from: 2 })
  expect(sentTo(leader, 2)).toBe(1)
  leader.acknowledge(2)
  expect(progressOf(leader, 2)).toMatchObject({ state: "StateReplicate", match: 4 })
})

test("C-17: what was in flight to one that is unreachable is sent again from what it holds", () => {
  const leader = new Member(1).lead().acknowledge(2)
  for (const text of ["a", "b"]) leader.propose(text)
  leader.take()
  leader.raft.reportUnreachable(2)
  leader.settle()
  expect(progressOf(leader, 2)).toMatchObject({
    state: "StateProbe",
    match: 2,
    next: 3,
    inflight: 0,
  })
})

test("C-17: a late refusal of what a member holds by now changes nothing", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.propose("a")
  leader.acknowledge(2).take()
  const before = progressOf(leader, 2)
  leader.answer({ type: "MsgAppResp", from: 2, index: 2, reject: true, rejectHint: 1, logTerm: 1 })
  expect(progressOf(leader, 2)).toEqual(before)
  expect(leader.take("MsgApp")).toEqual([])
})

/** A leader whose member 3 needs a snapshot up to 5. */
function withSnapshotPending(): Member {
  const leader = new Member(1, { terms: [1, 1, 1, 1], hardState: { term: 1, vote: 0, commit: 5 } })
  leader.lead().acknowledge(2)
  const confState = { ...emptyConfState, voters: [1, 2, 3] }
  leader.storage.createSnapshot({ index: 5, term: 1, confState })
  leader.storage.compact({ index: 5 })
  leader.answer({ type: "MsgAppResp", from: 3, index: 5, reject: true, rejectHint: 1, logTerm: 1 })
  expect(leader.take("MsgSnap")).toHaveLength(1)
  expect(progressOf(leader, 3)).toMatchObject({
    state: "StateSnapshot",
    pendingSnapshot: 5,
    next: 6,
  })
  return leader
}

test("C-17: while a snapshot is under way nothing else is sent, heartbeats excepted", () => {
  const leader = withSnapshotPending()
  leader.take()
  leader.propose("x")
  leader.answer({ type: "MsgHeartbeatResp", from: 3 })
  leader.tick(1)
  expect(
    new Set(
      leader
        .take()
        .filter(({ to }) => to === 3)
        .map(({ type }) => type),
    ),
  ).toEqual(new Set(["MsgHeartbeat"]))
})

test.each([
  { ok: true, next: 6 },
  { ok: false, next: 1 },
])(
  "C-17: a snapshot's stream that ended (ok $ok) is followed by a probe after $next",
  ({ ok, next }) => {
    const leader = withSnapshotPending()
    leader.raft.reportSnapshot(3, ok)
    leader.settle()
    expect(progressOf(leader, 3)).toMatchObject({
      state: "StateProbe",
      pendingSnapshot: 0,
      match: 0,
      next,
      paused: true,
    })
  },
)

test("C-17: who answers a snapshot by itself is sent the rest at once", () => {
  const leader = withSnapshotPending()
  leader.propose("x")
  leader.take()
  leader.acknowledge(3, 5)
  expect(progressOf(leader, 3)).toMatchObject({
    state: "StateReplicate",
    match: 5,
    pendingSnapshot: 0,
  })
  expect(leader.take("MsgApp")).toMatchObject([
    { to: 3, index: 5, entries: [{ index: 6 }, { index: 7 }] },
  ])
})

test("C-18: messages are cut by size, but one entry always goes", () => {
  const leader = new Member(1, { config: { maxSizePerMsg: 100 } }).lead().acknowledge(2)
  leader.take()
  leader.raft.propose([40, 40, 40, 200, 1].map((length) => new Uint8Array(length)))
  leader.settle()
  const sizes = leader
    .take("MsgApp")
    .filter(({ to }) => to === 2)
    .map(({ entries = [] }) => entries.map(({ data }) => data.length))
  expect(sizes.flat().slice(0, 2)).toEqual([40, 40])
  leader.acknowledge(2)
  sizes.push(
    ...leader
      .take("MsgApp")
      .filter(({ to }) => to === 2)
      .map(({ entries = [] }) => entries.map(({ data }) => data.length)),
  )
  for (const message of sizes) {
    const bytes = message.reduce((sum, length) => sum + length, 0)
    expect(message.length === 1 || bytes <= 100).toBe(true)
  }
})

test("C-18: what is handed out to be applied is bounded by size until it is applied", () => {
  const member = new Member(1, { config: { maxCommittedSizePerReady: 100 } })
  member.holdsApplies = true
  const entries = [2, 3, 4, 5].map((index) => ({
    index,
    term: 1,
    type: "EntryNormal" as const,
    data: new Uint8Array(40),
  }))
  member.step({ type: "MsgApp", from: 2, term: 1, index: 1, logTerm: 1, entries, commit: 5 })
  const handedOut = (): number =>
    member.held.reduce((sum, { entries: some = [] }) => sum + some.length, 0)
  expect(handedOut()).toBe(2)
  member.holdsApplies = false
  member.release()
  expect(member.applied.map(({ index }) => index)).toEqual([2, 3, 4, 5])
})

type Move =
  | { readonly kind: "send"; readonly count: number; readonly bytes: number }
  | { readonly kind: "answer"; readonly index: number }
  | { readonly kind: "refuse"; readonly rejected: number; readonly hint: number }
  | { readonly kind: "probe" | "replicate" | "heartbeat" }
  | { readonly kind: "snapshot"; readonly ahead: number }

const small = fc.nat(12)
const moves: fc.Arbitrary<Move[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("send" as const), count: fc.nat(3), bytes: fc.nat(30) }),
    fc.record({ kind: fc.constant("answer" as const), index: small }),
    fc.record({ kind: fc.constant("refuse" as const), rejected: small, hint: small }),
    fc.record({
      kind: fc.constantFrom("probe" as const, "replicate" as const, "heartbeat" as const),
    }),
    fc.record({ kind: fc.constant("snapshot" as const), ahead: fc.nat(4) }),
  ),
  { maxLength: 60 },
)

test("C-17: whatever happens, match stays below next, match never falls, and the window is exact", () => {
  fc.assert(
    fc.property(moves, (all) => {
      const inflights = new Inflights(limits)
      const start = { match: 0, next: 1, isLearner: false, recentActive: true }
      const progress = new Progress(start, inflights)
      /** The model: what is in flight, by its last index. */
      let flying: { last: number; bytes: number }[] = []
      for (const move of all) {
        const { match } = progress
        flying = moved(progress, move, flying)
        expect(progress.match).toBeGreaterThanOrEqual(match)
        expect(progress.next).toBeGreaterThan(progress.match)
        expect(inflights.count).toBe(flying.length)
        const bytes = flying.reduce((sum, message) => sum + message.bytes, 0)
        expect(inflights.full()).toBe(
          flying.length >= limits.maxInflightMsgs || bytes >= limits.maxInflightBytes,
        )
      }
    }),
  )
})

type Flying = { last: number; bytes: number }[]

/** The same move on the progress and on the model. */
function moved(progress: Progress, move: Move, flying: Flying): Flying {
  const before = progress.state
  switch (move.kind) {
    case "send": {
      if (progress.paused() || (before === "StateReplicate" && progress.inflights.full()))
        return flying
      progress.sentEntries(move.count, move.bytes)
      if (before !== "StateReplicate" || move.count === 0) return flying
      return [...flying, { last: progress.next - 1, bytes: move.bytes }]
    }
    case "answer": {
      // Nobody holds what was not sent.
      const index = Math.min(move.index, progress.next - 1)
      if (!progress.maybeUpdate(index) || progress.state !== "StateReplicate") return flying
      progress.inflights.free(index)
      return flying.filter(({ last }) => last > index)
    }
    case "refuse": {
      const isReal = progress.maybeDecrease(move.rejected, move.hint)
      if (!isReal || before !== "StateReplicate") return flying
      progress.becomeProbe()
      return []
    }
    case "probe":
      progress.becomeProbe()
      return []
    case "replicate":
      progress.becomeReplicate()
      return []
    case "heartbeat":
      progress.flowPaused = false
      return flying
    case "snapshot":
      progress.becomeSnapshot(progress.match + move.ahead)
      return []
    default:
      throw new Error("no such move")
  }
}

test("C-17: the window weighs what is in flight, not what was answered", () => {
  const inflights = new Inflights({ maxInflightMsgs: 100, maxInflightBytes: 50 })
  for (let index = 1; index <= 20; index++) {
    inflights.add(index, 30)
    expect(inflights.full()).toBe(false)
    inflights.free(index)
  }
  inflights.add(21, 30)
  inflights.add(22, 20)
  expect(inflights.full()).toBe(true)
  inflights.free(21)
  inflights.add(23, 29)
  expect(inflights.full()).toBe(false)
})

test("C-18: what an earlier leadership left uncommitted is no weight on the next", () => {
  const leader = new Member(1, { config: { maxUncommittedEntriesSize: 100 } })
  leader.lead().acknowledge(2)
  expect(leader.propose("x".repeat(100))).toBe("ok")
  expect(leader.propose("y")).toBe("dropped")
  leader.step({ type: "MsgHeartbeat", from: 3, term: 2 })
  leader.lead()
  expect(leader.raft.status()).toMatchObject({ raftState: "StateLeader", term: 3, commit: 2 })
  expect(leader.propose("y".repeat(100))).toBe("ok")
  expect(leader.propose("z")).toBe("dropped")
})

/** A normal entry of term 1 that weighs so much: 4 and one byte each for term, index, and the length of its data. */
function weighing(index: number, weight: number): Entry {
  return { index, term: 1, type: "EntryNormal", data: new Uint8Array(weight - 8) }
}

/** Indices that were handed out to be applied, batch by batch. */
function batches(member: Member): number[][] {
  return member.held.map(({ entries = [] }) => entries.map(({ index }) => index))
}

test("C-18: what weighs exactly the limit fills it: nothing more is handed out until some is applied", () => {
  const member = new Member(1, { config: { maxCommittedSizePerReady: 96 } })
  member.holdsApplies = true
  const append = { type: "MsgApp", from: 2, term: 1, logTerm: 1 } as const
  const first = [weighing(2, 48), weighing(3, 48)]
  member.step({ ...append, index: 1, entries: first, commit: 3 })
  member.step({ ...append, index: 3, entries: [weighing(4, 48)], commit: 4 })
  expect(batches(member)).toEqual([[2, 3]])
  member.work(member.held[0]!)
  member.settle()
  expect(batches(member)).toEqual([[2, 3], [4]])
})

test("C-18: also when it is what remains of more", () => {
  const member = new Member(1, { config: { maxCommittedSizePerReady: 96 } })
  member.holdsApplies = true
  const append = { type: "MsgApp", from: 2, term: 1, logTerm: 1 } as const
  member.step({ ...append, index: 1, entries: [weighing(2, 48)], commit: 2 })
  // One entry always goes, however heavy.
  member.step({ ...append, index: 2, entries: [weighing(3, 96)], commit: 3 })
  member.step({ ...append, index: 3, entries: [weighing(4, 48)], commit: 4 })
  expect(batches(member)).toEqual([[2], [3]])
  member.work(member.held[0]!)
  member.settle()
  expect(batches(member)).toEqual([[2], [3]])
  member.work(member.held[1]!)
  member.settle()
  expect(batches(member)).toEqual([[2], [3], [4]])
})
