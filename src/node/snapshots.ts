/** Snapshots between replicas: the announcing frame first, then the stored chunks, then one byte of thanks. */
import type { Message } from "../consensus/index.ts"
import type { PeerRef } from "../schema/index.ts"
import type { ByteStream, Parts, ReplicaStores } from "./parts.ts"

const snapshotMs = 600_000

/** Sends the newest stored snapshot that the message announces; false when it did not arrive. */
export function createSnapshotSender(
  parts: Parts & ReplicaStores,
  frame: (message: Message) => Uint8Array,
): (to: PeerRef, message: Message) => Promise<boolean> {
  return async (to, message) => {
    const signal = parts.clock.timeoutSignal(snapshotMs, "sending a snapshot")
    let stream: ByteStream | undefined
    try {
      stream = await parts.mesh.openStream(to, "/troupe/snap/1", { signal })
      await stream.write(withLength(frame(message)), { signal })
      for await (const chunk of parts.snapshots.chunks(message.snapshot!.meta.index)) {
        await stream.write(withLength(chunk), { signal })
      }
      await stream.end()
      for await (const answer of stream.read) if (answer.length > 0) return answer[0] === 1
      return false
    } catch (error) {
      parts.logger.warn("snapshot not delivered", { to: to.peerId, error: String(error) })
      stream?.abort(error as Error)
      return false
    }
  }
}

/** Stores the chunks under the mark that the message announces. */
export async function receiveSnapshot(
  parts: Parts & ReplicaStores,
  message: Message,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  await parts.snapshots.receive(message.snapshot!.meta, chunks)
}

/** Takes a snapshot stream apart: the frame, then the chunks as they were stored. */
export async function serveSnapshot(
  stream: ByteStream,
  take: (header: Uint8Array, chunks: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const pieces = lengthPrefixed(stream.read)
  const header = await pieces.next()
  if (header.done) return
  await take(header.value, pieces)
  await stream.write(Uint8Array.of(1))
  await stream.end()
}

const pieceBytesMax = 8 << 20

function withLength(bytes: Uint8Array): Uint8Array {
  const framed = new Uint8Array(4 + bytes.length)
  new DataView(framed.buffer).setUint32(0, bytes.length, true)
  framed.set(bytes, 4)
  return framed
}

async function* lengthPrefixed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held = Buffer.alloc(0)
  for await (const chunk of source) {
    held = Buffer.concat([held, chunk])
    while (held.length >= 4) {
      const length = held.readUInt32LE(0)
      if (length > pieceBytesMax) throw new Error(`snapshot piece of ${length} bytes`)
      if (held.length < 4 + length) break
      yield held.subarray(4, 4 + length)
      held = held.subarray(4 + length)
    }
  }
  if (held.length > 0) throw new Error("snapshot stream cut short")
}
