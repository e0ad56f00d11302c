/** A replica that hears that it acknowledged what it does not have: it stops, and says so, before it votes (C-38). */
import { expect, test } from "vitest"
import { openReplica, voters } from "./one-replica.ts"

test("a heartbeat names what this member acknowledged in its term: without it, its log is lost", async () => {
  const lost: string[] = []
  const events = { lost: (reason: string) => void lost.push(reason) }
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3), events })
  one.hear({ type: "MsgHeartbeat", to: 2, from: 1, term: 1, commit: 1 })
  await one.clock.pass(100)
  expect(lost).toEqual([])
  const before = one.sent.length
  one.hear({ type: "MsgHeartbeat", to: 2, from: 1, term: 2, commit: 9 })
  one.hear({ type: "MsgVote", to: 2, from: 3, term: 3, index: 50, logTerm: 2 })
  await one.clock.pass(5000)
  expect(lost).toEqual(["the leader knows that 9 was durable here, the log ends at 1"])
  expect(one.fatal).toEqual([])
  expect(one.sent.slice(before)).toEqual([])
})

test("a heartbeat of an earlier term says nothing", async () => {
  const lost: string[] = []
  const events = { lost: (reason: string) => void lost.push(reason) }
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3), events })
  one.hear({ type: "MsgHeartbeat", to: 2, from: 1, term: 5, commit: 1 })
  await one.clock.pass(100)
  one.hear({ type: "MsgHeartbeat", to: 2, from: 3, term: 4, commit: 9 })
  await one.clock.pass(100)
  expect(lost).toEqual([])
})
