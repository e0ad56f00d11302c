/** C-46, C-47: what another cluster, another incarnation of this one, or an earlier start of a member says is not heard. */
import { expect, test } from "vitest"
import type { Message, MessageType } from "../../../src/consensus/index.ts"
import { bootTag, type Outdated } from "../../../src/node/boots.ts"
import { Gate } from "../../../src/node/replica-gate.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import { nextIncarnation } from "../../../src/schema/index.ts"
import { encodeFrame } from "../../../src/wire/index.ts"
import { ManualClock } from "../../support/manual-clock.ts"
import { clusterId, openReplica, voters } from "./one-replica.ts"

const first = nextIncarnation(clusterId, "00000001")
const second = nextIncarnation(first, "00000002")
const twin = nextIncarnation(first, "0000000f")

/** What member 2 of the first recovery would believe. */
const vote: Message = { type: "MsgVote", to: 2, from: 1, term: 9, index: 50, logTerm: 8 }

const snapshot: Message = {
  type: "MsgSnap",
  to: 2,
  from: 1,
  term: 9,
  snapshot: {
    meta: { index: 40, term: 8, confState: voters(1, 2, 3) },
    data: new Uint8Array(0),
  },
}

function frameOf(message: Message, more: { clusterId?: string; boot?: number } = {}): Uint8Array {
  const { to, from } = message
  return encodeFrame({ version: 1, clusterId: first, incarnation: 0, to, from, message, ...more })
}

function openGate(): { gate: Gate; told: Outdated[]; lost: string[]; clock: ManualClock } {
  const told: Outdated[] = []
  const lost: string[] = []
  const clock = new ManualClock()
  const gate = new Gate({
    clusterId: first,
    memberId: 2,
    clock,
    logger: silentLogger,
    peerOf: (id) => ({ peerId: `peer-${id}`, addresses: [] }),
    sessionBoot: () => "7-00002",
    position: () => ({ term: 1, lastIndex: 1, isLeading: false }),
    outdated: (_, outdated) => void told.push(outdated),
    lose: (reason) => void lost.push(reason),
  })
  return { gate, told, lost, clock }
}

const strangers: readonly (readonly [string, string])[] = [
  ["another cluster", "another-cluster"],
  ["the cluster before its recovery", clusterId],
  ["a later recovery", second],
  ["another recovery of the same cluster", nextIncarnation(clusterId, "0000000f")],
  ["a recovery of a twin", twin],
  ["no cluster", ""],
]

test.each(strangers)("C-46, C-47: a frame of %s is dropped", (_, other) => {
  const { gate, lost, told } = openGate()
  const types: MessageType[] = ["MsgVote", "MsgPreVote", "MsgApp", "MsgHeartbeat", "MsgTimeoutNow"]
  for (const type of types) {
    const message: Message = { ...vote, type, commit: 9 }
    expect(gate.message("peer-1", frameOf(message, { clusterId: other })), type).toBeUndefined()
  }
  expect(gate.announcement("peer-1", frameOf(snapshot, { clusterId: other }))).toBeUndefined()
  // Neither is this member's log lost by what a stranger knows, nor is the stranger an old copy of a member.
  expect([lost, told]).toEqual([[], []])
})

test("the same frames of this cluster are heard", () => {
  const { gate } = openGate()
  expect(gate.message("peer-1", frameOf(vote))).toMatchObject(vote)
  expect(gate.announcement("peer-1", frameOf(snapshot))).toMatchObject({ type: "MsgSnap", term: 9 })
})

test("a frame to another member, or by another peer, is dropped", () => {
  const { gate } = openGate()
  expect(gate.message("peer-1", frameOf({ ...vote, to: 3 }))).toBeUndefined()
  expect(gate.message("peer-3", frameOf(vote))).toBeUndefined()
  expect(gate.announcement("peer-1", frameOf({ ...snapshot, to: 3 }))).toBeUndefined()
  expect(gate.announcement("peer-3", frameOf(snapshot))).toBeUndefined()
})

test("C-46, B-25: an earlier start of a member is not heard, and is told so once a second", () => {
  const { gate, told, clock } = openGate()
  const boot = bootTag("6-00001")
  const old = frameOf(vote, { boot })
  expect(gate.message("peer-1", old)).toBeUndefined()
  expect(gate.announcement("peer-1", frameOf(snapshot, { boot }))).toBeUndefined()
  expect(told).toMatchObject([{ memberId: 1, boot }])
  clock.advance(1000)
  expect(gate.message("peer-1", old)).toBeUndefined()
  expect(told).toHaveLength(2)
  expect(gate.message("peer-1", frameOf(vote, { boot: bootTag("7-00002") }))).toMatchObject(vote)
})

test("C-46: a replica gives no vote to another cluster, and keeps its term", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  const ask: Message = { type: "MsgVote", to: 2, from: 1, term: 9, index: 50, logTerm: 8 }
  for (const other of ["another-cluster", first]) {
    one.replica.handleFrame("peer-1", frameOf(ask, { clusterId: other }))
  }
  await one.clock.pass(100)
  expect(one.sent).toEqual([])
  one.hear({ ...ask, term: 3 })
  await one.clock.pass(100)
  expect(one.sent).toMatchObject([{ type: "MsgVoteResp", to: 1, term: 3 }])
})
