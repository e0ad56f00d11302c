/** One replica: nothing that it says runs ahead of its disk. */
import { expect, test } from "vitest"
import type { Entry, Message, MessageType } from "../../../src/consensus/index.ts"
import { isTroupeError } from "../../../src/schema/index.ts"
import { createFakeStorage } from "../../support/fake-storage.ts"
import { aDeclaration } from "../../support/plans.ts"
import { founding, openReplica, type OneReplica, voters } from "./one-replica.ts"

const admitOne = { type: "admit", items: [aDeclaration({ name: "n2", peerId: "peer-2" })] } as const

function types(messages: readonly Message[]): MessageType[] {
  return messages.map(({ type }) => type)
}

/** One empty entry at index 2, as a new leader of term 2 sends it. */
const append: Message = {
  type: "MsgApp",
  to: 2,
  from: 1,
  term: 2,
  index: 1,
  logTerm: 1,
  commit: 1,
  entries: [{ term: 2, index: 2, type: "EntryNormal", data: new Uint8Array(0) } satisfies Entry],
}

const asked: { title: string; message: Message; answer: MessageType }[] = [
  { title: "an append", message: append, answer: "MsgAppResp" },
  {
    title: "a vote",
    message: { type: "MsgVote", to: 2, from: 1, term: 2, index: 1, logTerm: 1 },
    answer: "MsgVoteResp",
  },
  {
    title: "a pre-vote",
    message: { type: "MsgPreVote", to: 2, from: 1, term: 2, index: 1, logTerm: 1 },
    answer: "MsgPreVoteResp",
  },
]

test.each(asked)("the answer to $title does not leave before its fdatasync", async (row) => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  one.gate.shut()
  one.hear(row.message)
  await one.clock.pass(300)
  expect(types(one.sent)).not.toContain(row.answer)
  // What was asked for is on its way to the disk, and waits there.
  expect(one.gate.waiting).toBeGreaterThan(0)
  one.gate.open()
  await one.clock.pass(50)
  expect(types(one.sent)).toContain(row.answer)
  expect(one.sent.find(({ type }) => type === row.answer)?.reject ?? false).toBe(false)
})

test("a second vote of the same term is refused after a crash that came after the first", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  one.hear({ type: "MsgVote", to: 2, from: 1, term: 2, index: 1, logTerm: 1 })
  await one.clock.pass(50)
  expect(one.sent).toMatchObject([{ type: "MsgVoteResp", to: 1 }])
  one.disk.crash()
  const again = await openReplica({ memberId: 2, disk: one.disk, clock: one.clock })
  again.hear({ type: "MsgVote", to: 2, from: 3, term: 2, index: 1, logTerm: 1 })
  await again.clock.pass(50)
  expect(again.sent).toMatchObject([{ type: "MsgVoteResp", to: 3, reject: true }])
})

async function alone(): Promise<OneReplica> {
  const one = await openReplica({ memberId: 1, genesis: founding })
  await one.clock.pass(100)
  expect(one.replica.isLeading()).toBe(true)
  return one
}

test("a proposal does not resolve before its fdatasync, though nobody else has to agree", async () => {
  const one = await alone()
  one.gate.shut()
  let isDone = false
  const proposal = one.replica.propose(admitOne).then(() => {
    isDone = true
  })
  await one.clock.pass(1000)
  expect(isDone).toBe(false)
  one.gate.open()
  await one.clock.drive(proposal)
  expect(isDone).toBe(true)
})

test("a failed write ends the node with 74, and nothing is said after it", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  one.gate.error = new Error("EIO")
  one.hear(append)
  await one.clock.pass(50)
  expect(one.fatal.map(({ code }) => code)).toEqual([74])
  expect(one.sent).toEqual([])
  one.gate.error = undefined
  one.hear({ type: "MsgHeartbeat", to: 2, from: 1, term: 2, commit: 1 })
  one.hear({ type: "MsgVote", to: 2, from: 3, term: 9, index: 9, logTerm: 9 })
  await one.clock.pass(5000)
  expect(one.sent).toEqual([])
  expect(one.fatal.length).toBe(1)
})

test("proposals that a failed write cuts off are told so, later ones too", async () => {
  const one = await alone()
  one.gate.error = new Error("EIO")
  const first = one.replica.propose(admitOne)
  await expect(one.clock.drive(first)).rejects.toMatchObject({ code: "ERR_UNKNOWN_OUTCOME" })
  await expect(one.replica.propose(admitOne)).rejects.toMatchObject({ code: "ERR_NOT_LEADER" })
  expect(one.fatal.map(({ code }) => code)).toEqual([74])
})

test("a follower refuses proposals and reads", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  await expect(one.replica.propose(admitOne)).rejects.toSatisfy(isTroupeError)
  const signal = one.clock.timeoutSignal(1000, "a read")
  await expect(one.replica.readBarrier(signal)).rejects.toMatchObject({ code: "ERR_NOT_LEADER" })
})

test("frames of another cluster, for another member or in another's name are not heard", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  one.hear({ ...append, to: 3 })
  await one.clock.pass(50)
  expect(one.sent).toEqual([])
  expect(one.replica.term).toBe(0)
})

test("an entry of a later version stops the node with 76 and is not skipped", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  const data = Uint8Array.of(120, 1, 2, 3)
  const entry: Entry = { term: 2, index: 2, type: "EntryNormal", data }
  one.hear({ ...append, entries: [entry], commit: 2 })
  await one.clock.pass(100)
  expect(one.fatal.map(({ code }) => code)).toEqual([76])
  expect(one.replica.applied.index).toBe(1)
})

test("a snapshot that was received just before a crash does not keep the log from opening", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  // Its rows were durable; the record of the log that announces it was not.
  const mark = { index: 50, term: 3, confState: voters(1, 2, 3) }
  const rows = (async function* () {
    yield ["a", "1"] as const
  })()
  await one.clock.drive(createFakeStorage(one.disk).snapshots.create(mark, rows))
  one.disk.crash()
  const again = await openReplica({ memberId: 2, disk: one.disk, clock: one.clock })
  expect(again.replica.applied.index).toBe(1)
  again.hear(append)
  await again.clock.pass(50)
  expect(again.sent).toMatchObject([{ type: "MsgAppResp", index: 2 }])
})
