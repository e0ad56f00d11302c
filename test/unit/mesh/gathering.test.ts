import type { MessageStream } from "@libp2p/interface"
import { Uint8ArrayList } from "uint8arraylist"
import { expect, test } from "vitest"
import { gather } from "../../../src/mesh/gathering.ts"

/** What a connection was asked to send, piece by piece. */
function recorded(): { connection: MessageStream; sent: number[][]; closed: () => boolean } {
  const sent: number[][] = []
  let closed = false
  const connection = {
    status: "open",
    writableNeedsDrain: false,
    send(data: Uint8Array | Uint8ArrayList): boolean {
      sent.push([...data.subarray()])
      return true
    },
    async close(): Promise<void> {
      closed = true
      await Promise.resolve()
    },
  } as Partial<MessageStream> as MessageStream
  gather(connection)
  return { connection, sent, closed: () => closed }
}

/** As yamux writes it. */
function windowUpdate(stream: number, bytes: number, flags = 0): Uint8Array {
  const data = Buffer.alloc(12)
  data.writeUInt8(1, 1)
  data.writeUInt16BE(flags, 2)
  data.writeUInt32BE(stream, 4)
  data.writeUInt32BE(bytes, 8)
  return new Uint8Array(data)
}

test("what is sent in one turn leaves as one piece, in order", async () => {
  const { connection, sent } = recorded()
  connection.send(Uint8Array.of(1, 2))
  connection.send(new Uint8ArrayList(Uint8Array.of(3), Uint8Array.of(4)))
  expect(sent).toEqual([])
  await Promise.resolve()
  expect(sent).toEqual([[1, 2, 3, 4]])
})

test("window updates ride along, those of a stream as one", async () => {
  const { connection, sent } = recorded()
  connection.send(windowUpdate(3, 100))
  connection.send(windowUpdate(3, 20))
  connection.send(windowUpdate(5, 7))
  await Promise.resolve()
  expect(sent).toEqual([])
  connection.send(Uint8Array.of(9))
  await Promise.resolve()
  expect(sent).toEqual([[9, ...windowUpdate(3, 120), ...windowUpdate(5, 7)]])
})

test("a window that has shrunk by a quarter is opened at once, so that no sender waits for ever", async () => {
  const { connection, sent } = recorded()
  for (let part = 0; part < 4; part++) connection.send(windowUpdate(3, 16 << 10))
  await Promise.resolve()
  expect(sent).toEqual([[...windowUpdate(3, 64 << 10)]])
})

test("an update with a flag opens or ends a stream and does not wait", async () => {
  const { connection, sent } = recorded()
  connection.send(windowUpdate(3, 0, 4))
  await Promise.resolve()
  expect(sent).toEqual([[...windowUpdate(3, 0, 4)]])
})

test("much at once does not wait for the end of the turn", () => {
  const { connection, sent } = recorded()
  connection.send(new Uint8Array(40 << 10))
  expect(sent).toEqual([])
  connection.send(new Uint8Array(40 << 10))
  expect(sent.map((piece) => piece.length)).toEqual([80 << 10])
})

test("what waits leaves before the connection closes", async () => {
  const { connection, sent, closed } = recorded()
  connection.send(Uint8Array.of(1))
  await connection.close()
  expect(sent).toEqual([[1]])
  expect(closed()).toBe(true)
})
