import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  FrameReader,
  frameBytesMax,
  Refusal,
  type Reply,
  type Request,
} from "../../../src/keeper/protocol.ts"
import { anOrder } from "./orders.ts"

const target = { run: "r-1", task: "shard[3]", fence: 7 }
const requests: readonly Request[] = [
  { op: "hello", version: 1 },
  { op: "launch", spec: anOrder({ cwd: "/x", files: [{ source: "/b", path: "a/b" }] }) },
  { op: "end", ...target, graceMs: 5, reason: "because" },
  { op: "list", after: 3 },
  { op: "forget", ...target, files: true },
  { op: "status" },
  { op: "shutdown" },
]
const attempt = {
  ...target,
  attempt: 2,
  state: "ended" as const,
  ending: { outcome: "signalled" as const, signal: "SIGTERM", reason: "told", stopped: true },
  stdout: "/o",
  stderr: "/e",
  outputBytesMax: 5,
}
const replies: readonly Reply[] = [
  { kind: "done" },
  { kind: "attempt", attempt },
  { kind: "page", attempts: [attempt], next: 9 },
  { kind: "refusal", code: "ERR_KEEPER", message: "no", details: { reason: "no" } },
  { kind: "change", attempt },
]

test("messages survive the way, in chunks of any size", () => {
  const bytes = Buffer.concat([
    ...requests.map((request, id) => encodeRequest(id, request)),
    ...replies.map((reply, id) => encodeReply(id, reply)),
  ])
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }), (sizes) => {
      const reader = new FrameReader()
      const frames: Uint8Array[] = []
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const size = sizes[turn % sizes.length]!
        frames.push(...reader.push(bytes.subarray(at, at + size)))
        at += size
      }
      const asked = frames.slice(0, requests.length).map(decodeRequest)
      expect(asked).toEqual(requests.map((request, id) => ({ id, request })))
      const answered = frames.slice(requests.length).map(decodeReply)
      expect(answered).toEqual(replies.map((reply, id) => ({ id, reply })))
    }),
  )
})

test("a frame longer than the limit is refused before it is gathered", () => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(frameBytesMax + 1)
  expect(() => new FrameReader().push(head)).toThrow(/bytes/)
})

test("an order too large for a frame is refused by name", () => {
  const argv = Array.from({ length: 60 }, () => "x".repeat(100_000))
  expect(() => encodeRequest(1, { op: "launch", spec: anOrder({ argv }) })).toThrow(Refusal)
})

test("noise is an error, never a message", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
      try {
        const { request } = decodeRequest(noise)
        expect(requests.map(({ op }) => op)).toContain(request.op)
      } catch (error) {
        expect((error as Error).name).toBe("CodecError")
      }
    }),
  )
})

test("to and from version 1: no byte where it knows none", () => {
  const hello = encodeReply(1, { kind: "hello", version: 1, pid: 7 })
  // length, id, case 1, version, pid
  expect([...hello]).toEqual([0, 0, 0, 4, 1, 1, 1, 7])
  expect(decodeReply(hello.subarray(4))).toEqual({
    id: 1,
    reply: { kind: "hello", version: 1, pid: 7 },
  })
  const named = encodeReply(1, { kind: "hello", version: 2, pid: 7, build: "b" })
  expect(decodeReply(named.subarray(4)).reply).toMatchObject({ version: 2, build: "b" })
  const plain = encodeRequest(1, { op: "launch", spec: anOrder() })
  const limited = encodeRequest(1, { op: "launch", spec: anOrder({ limits: { pids: 3 } }) })
  expect([...limited.subarray(4, plain.length)]).toEqual([...plain.subarray(4)])
  expect(decodeRequest(limited.subarray(4)).request).toMatchObject({
    spec: { limits: { pids: 3 } },
  })
})
