/** The part of the mesh's contract that is about byte streams. */
import { createHash } from "node:crypto"
import { expect } from "vitest"
import type { ByteStream } from "../../../src/mesh/index.ts"
import { type Check, failure, joined, refOf } from "./world.ts"

const encoder = new TextEncoder()
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

async function readAll(stream: ByteStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream.read) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export function streams(check: Check): void {
  check("a stream carries bytes both ways, and ends on each side by itself", async (world) => {
    const [a, b] = await joined(world)
    b.onStream("/troupe/blobs/1", async (stream) => {
      for await (const chunk of stream.read) await stream.write(chunk)
      await stream.write(encoder.encode("end"))
    })
    const stream = await world.wait(
      a.openStream(refOf(b), "/troupe/blobs/1", { signal: world.limit() }),
    )
    expect(stream.peerId).toBe(b.peerId)
    const data = Buffer.alloc(3 << 20, "0123456789abcdef!")
    const sending = (async () => {
      for (let at = 0; at < data.length; at += 100_000) {
        await stream.write(data.subarray(at, at + 100_000))
      }
      await stream.end()
    })()
    const [back] = await world.wait(Promise.all([readAll(stream), sending]))
    expect(digest(back)).toBe(digest(Buffer.concat([data, encoder.encode("end")])))
  })

  check("a reader that waits holds its writer", async (world) => {
    const [a, b] = await joined(world)
    const go = Promise.withResolvers<void>()
    const read = Promise.withResolvers<number>()
    b.onStream("/troupe/snap/1", async (stream) => {
      await go.promise
      let bytes = 0
      for await (const chunk of stream.read) bytes += chunk.length
      read.resolve(bytes)
    })
    const stream = await world.wait(
      a.openStream(refOf(b), "/troupe/snap/1", { signal: world.limit() }),
    )
    const total = 64 << 20
    const chunk = new Uint8Array(256 << 10)
    let written = 0
    const sending = (async () => {
      while (written < total) {
        await stream.write(chunk)
        written += chunk.length
      }
      await stream.end()
    })()
    expect(await world.steady(() => written)).toBeLessThan(24 << 20)
    go.resolve()
    expect(await world.wait(read.promise)).toBe(total)
    await world.wait(sending)
  })
}

export function brokenStreams(check: Check): void {
  check("an aborted stream fails on the other side", async (world) => {
    const [a, b] = await joined(world)
    const seen = Promise.withResolvers<Error>()
    b.onStream("/troupe/snap/1", async (stream) => {
      seen.resolve(await failure(readAll(stream)))
    })
    const stream = await world.wait(
      a.openStream(refOf(b), "/troupe/snap/1", { signal: world.limit() }),
    )
    await world.wait(stream.write(new Uint8Array(10)))
    stream.abort(new Error("changed my mind"))
    expect(await world.wait(seen.promise)).toBeInstanceOf(Error)
    await expect(world.wait(stream.write(new Uint8Array(1)))).rejects.toThrow()
  })

  check("a stream that breaks off is no stream that ended", async (world) => {
    const [a, b] = await joined(world)
    b.onStream("/troupe/snap/1", async (stream) => {
      await stream.write(new Uint8Array(10))
      await new Promise(() => undefined)
    })
    const stream = await world.wait(
      a.openStream(refOf(b), "/troupe/snap/1", { signal: world.limit() }),
    )
    const reader = stream.read[Symbol.asyncIterator]()
    expect((await world.wait(reader.next())).value).toHaveLength(10)
    const rest = failure(reader.next())
    await world.wait(b.stop())
    expect(await world.wait(rest)).toMatchObject({ code: "ERR_PEER_UNREACHABLE" })
  })
}
