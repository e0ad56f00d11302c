/** One replica under load: what goes together, and what is not worth a write or a frame of its own. */
import { expect, test } from "vitest"
import type { Message } from "../../../src/consensus/index.ts"
import type { Command } from "../../../src/state/index.ts"
import { openReplica, type OneReplica, voters } from "./one-replica.ts"

function cancel(run: string): Command {
  return { type: "cancel", items: [{ run, reason: "a test" }] }
}

/** What left for member 2 since the last look, answered as a healthy follower does. */
async function answered(one: OneReplica): Promise<readonly Message[]> {
  const seen = one.sent.splice(0).filter(({ to }) => to === 2)
  for (const { type, term = 0, index = 0, entries = [], epoch = 0 } of seen) {
    const back = { to: 1, from: 2, term }
    if (type === "MsgPreVote") one.hear({ ...back, type: "MsgPreVoteResp" })
    if (type === "MsgVote") one.hear({ ...back, type: "MsgVoteResp" })
    if (type === "MsgApp") {
      one.hear({ ...back, type: "MsgAppResp", index: index + entries.length, epoch })
    }
  }
  await one.clock.pass(2)
  return seen
}

async function leader(): Promise<OneReplica> {
  const one = await openReplica({ memberId: 1, confState: voters(1, 2, 3) })
  for (let tries = 0; tries < 400 && !one.replica.isLeading(); tries++) {
    await one.clock.pass(10)
    await answered(one)
  }
  expect(one.replica.isLeading()).toBe(true)
  await one.clock.pass(50)
  await answered(one)
  return one
}

function appends(messages: readonly Message[]): readonly Message[] {
  return messages.filter(({ type }) => type === "MsgApp")
}

test("commands of one turn are one write and one append, and each hears of its own end", async () => {
  const one = await leader()
  one.gate.shut()
  const proposals = ["r-1", "r-2", "r-3"].map((run) => one.replica.propose(cancel(run)))
  await one.clock.pass(1)
  expect(one.gate.waiting).toBe(1)
  one.gate.open()
  const sent = appends(await answered(one))
  expect(sent.map(({ entries }) => entries?.length)).toEqual([3])
  const outcomes = await one.clock.drive(Promise.all(proposals))
  const [first] = outcomes
  expect(outcomes.map(({ index }) => index - first!.index)).toEqual([0, 1, 2])
})

test("followers hear of a commit with the next entries", async () => {
  const one = await leader()
  const first = one.replica.propose(cancel("r-1"))
  await one.clock.pass(1)
  await answered(one)
  const { index } = await one.clock.drive(first)
  void one.replica.propose(cancel("r-2"))
  await one.clock.pass(1)
  const sent = appends(await answered(one))
  expect(sent).toMatchObject([{ commit: index, entries: [{ index: index + 1 }] }])
})

test("followers hear of a commit soon when no entries follow", async () => {
  const one = await leader()
  const first = one.replica.propose(cancel("r-1"))
  await one.clock.pass(1)
  await answered(one)
  const { index } = await one.clock.drive(first)
  await one.clock.pass(25)
  expect(appends(one.sent).filter(({ to }) => to === 2)).toMatchObject([{ commit: index }])
})

test("a commit index alone is no write, and what was written before is answered for", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  const from = { to: 2, from: 1, term: 2, type: "MsgApp" } as const
  const data = new Uint8Array(0)
  const entries = [{ term: 2, index: 2, type: "EntryNormal", data } as const]
  one.hear({ ...from, index: 1, logTerm: 1, commit: 1, entries })
  await one.clock.pass(50)
  one.sent.length = 0
  one.gate.shut()
  one.hear({ ...from, index: 2, logTerm: 2, commit: 2 })
  await one.clock.pass(50)
  expect(one.gate.waiting).toBe(0)
  expect(one.sent).toMatchObject([{ type: "MsgAppResp", index: 2 }])
  expect(one.replica.applied.index).toBe(2)
})

test("an append that brings nothing new is not answered before what it repeats is on disk", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  const from = { to: 2, from: 1, term: 2, type: "MsgApp" } as const
  const data = new Uint8Array(0)
  const entries = [{ term: 2, index: 2, type: "EntryNormal", data } as const]
  one.gate.shut()
  one.hear({ ...from, index: 1, logTerm: 1, commit: 1, entries })
  await one.clock.pass(20)
  one.hear({ ...from, index: 2, logTerm: 2, commit: 1 })
  await one.clock.pass(20)
  expect(one.sent).toEqual([])
  one.gate.open()
  await one.clock.pass(20)
  expect(one.sent.map(({ index }) => index)).toEqual([2, 2])
})
