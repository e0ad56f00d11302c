/** Raft frames: every message that may travel comes back as it was; no other one travels. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { Message, MessageType } from "../../../src/consensus/index.ts"
import { CodecError } from "../../../src/lib/index.ts"
import { decodeFrame, encodeFrame, type Frame, frameVersion } from "../../../src/wire/index.ts"
import { safe, sparseRecord } from "./arbitrary.ts"

const travelling = [
  "MsgApp",
  "MsgAppResp",
  "MsgVote",
  "MsgVoteResp",
  "MsgSnap",
  "MsgHeartbeat",
  "MsgHeartbeatResp",
  "MsgTransferLeader",
  "MsgTimeoutNow",
  "MsgReadIndex",
  "MsgReadIndexResp",
  "MsgPreVote",
  "MsgPreVoteResp",
] as const
const staying: readonly MessageType[] = [
  "MsgHup",
  "MsgBeat",
  "MsgProp",
  "MsgUnreachable",
  "MsgSnapStatus",
  "MsgCheckQuorum",
  "MsgStorageAppend",
  "MsgStorageAppendResp",
  "MsgStorageApply",
  "MsgStorageApplyResp",
  "MsgForgetLeader",
]

const positive = safe.map((value) => Math.max(1, value))
const maybe = <T>(inner: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(inner, { nil: undefined })
const ids = fc.array(positive, { maxLength: 5 })
const entry = fc.record({
  term: safe,
  index: safe,
  type: fc.constantFrom("EntryNormal", "EntryConfChange", "EntryConfChangeV2" as const),
  data: fc.uint8Array({ maxLength: 40 }),
})
const snapshot = fc
  .record({
    index: safe,
    term: safe,
    confState: fc.record({
      voters: ids,
      learners: ids,
      votersOutgoing: ids,
      learnersNext: ids,
      autoLeave: fc.boolean(),
    }),
  })
  .map((meta) => ({ meta, data: new Uint8Array(0) }))

/** Zero, false and empty are the same as absent, so they are left out here. */
const messages = sparseRecord<Message>({
  type: fc.constantFrom(...travelling),
  to: positive,
  from: positive,
  term: maybe(positive),
  logTerm: maybe(positive),
  index: maybe(positive),
  entries: maybe(fc.array(entry, { minLength: 1, maxLength: 4 })),
  commit: maybe(positive),
  vote: maybe(positive),
  snapshot: maybe(snapshot),
  reject: maybe(fc.constant(true)),
  rejectHint: maybe(positive),
  context: maybe(fc.uint8Array({ minLength: 1, maxLength: 16 })),
  epoch: maybe(positive),
})

const frame: fc.Arbitrary<Frame> = fc
  .tuple(messages, positive, fc.boolean(), fc.string({ maxLength: 32 }))
  .map(([one, other, forwarded, clusterId]) => ({
    version: frameVersion,
    clusterId,
    incarnation: 0,
    to: one.to,
    from: forwarded ? other : one.from,
    message: one,
  }))

test("every message that may travel comes back as it was", () => {
  fc.assert(
    fc.property(frame, (one) => {
      expect(decodeFrame(encodeFrame(one))).toEqual(one)
    }),
    { numRuns: 500 },
  )
})

test("zero, false and empty read as absent", () => {
  const bare: Message = { type: "MsgHeartbeat", to: 2, from: 1 }
  const full: Message = {
    ...bare,
    term: 0,
    commit: 0,
    reject: false,
    entries: [],
    context: new Uint8Array(0),
  }
  const envelope = { version: frameVersion, clusterId: "c", incarnation: 0, to: 2, from: 1 }
  expect(decodeFrame(encodeFrame({ ...envelope, message: full })).message).toEqual(bare)
})

test("a heartbeat is small", () => {
  const message: Message = {
    type: "MsgHeartbeat",
    to: 2,
    from: 1,
    term: 7,
    commit: 123_456,
    epoch: 3,
  }
  const clusterId = "0123456789abcdef0123456789abcdef"
  const size = encodeFrame({
    version: frameVersion,
    clusterId,
    incarnation: 0,
    to: 2,
    from: 1,
    message,
  }).length
  // 33 bytes of cluster id, 5 of envelope, 2 of type and mask or so, 5 of numbers.
  expect(size).toBeLessThanOrEqual(46)
})

test.each(staying)("%s does not travel", (type) => {
  const message: Message = { type, to: 2, from: 1 }
  const one = { version: frameVersion, clusterId: "c", incarnation: 0, to: 2, from: 1, message }
  expect(() => encodeFrame(one)).toThrow(CodecError)
})

test("a frame goes where its message goes", () => {
  const message: Message = { type: "MsgHeartbeat", to: 2, from: 1 }
  const one = { version: frameVersion, clusterId: "c", incarnation: 0, to: 3, from: 1, message }
  expect(() => encodeFrame(one)).toThrow(CodecError)
})

test("random bytes and damaged frames are a frame or a CodecError", () => {
  const damaged = fc.tuple(frame, fc.nat(), fc.nat(255)).map(([one, place, byte]) => {
    const data = encodeFrame(one)
    data[place % data.length] = byte
    return data
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), damaged), (data) => {
      try {
        decodeFrame(data)
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError)
      }
    }),
    { numRuns: 3000 },
  )
})

test("a frame of another version, with an unknown type or field, or cut short is refused", () => {
  const message: Message = { type: "MsgHeartbeat", to: 2, from: 1, term: 7 }
  const data = encodeFrame({
    version: frameVersion,
    clusterId: "c",
    incarnation: 0,
    to: 2,
    from: 1,
    message,
  })
  expect(() => decodeFrame(data.with(0, 9))).toThrow(/version/)
  // version, cluster id of one letter, incarnation, to, from: the type is the byte at 6, the mask that at 7.
  expect(() => decodeFrame(data.with(6, 60))).toThrow(/unknown message type/)
  const wide = new Uint8Array([...data.slice(0, 7), 0x80, 0x40])
  expect(() => decodeFrame(wide)).toThrow(/unknown message field/)
  for (let length = 0; length < data.length; length++) {
    expect(() => decodeFrame(data.subarray(0, length))).toThrow(CodecError)
  }
  expect(() => decodeFrame(new Uint8Array([...data, 0]))).toThrow(/too many/)
})
