/** Snapshots between replicas, on a stream of their own: an announcing frame, what the receiver holds of it already, the
 *  chunks that it lacks, thanks. */
import type { Message } from "../consensus/index.ts"
import { isTroupeError, type PeerRef } from "../schema/index.ts"
import { decodeFrame } from "../wire/index.ts"
import type { ByteStream, HeldChunks, Parts, ReplicaStores } from "./parts.ts"

const snapshotMs = 600_000
const pieceBytesMax = 72 << 20
const hashBytes = 64

/** `unreadable`: this node's own copy is broken. */
export type Delivery = "delivered" | "failed" | "unreadable"

/** Sends the newest stored snapshot that the message announces. */
export function createSnapshotSender(
  parts: Pick<Parts, "mesh" | "clock" | "logger"> & Pick<ReplicaStores, "snapshots">,
  frame: (message: Message) => Uint8Array,
): (to: PeerRef, message: Message) => Promise<Delivery> {
  return async (to, message) => {
    const signal = parts.clock.timeoutSignal(snapshotMs, "sending a snapshot")
    const { index } = message.snapshot!.meta
    const source = new Source()
    let stream: ByteStream | undefined
    try {
      stream = await parts.mesh.openStream(to, "/troupe/snap/1", { signal })
      abortOn(signal, stream)
      const header = frame(message)
      await stream.write(withLength(header), { signal })
      const isAsked = canResume(header)
      const pieces = isAsked ? lengthPrefixed(stream.read) : stream.read[Symbol.asyncIterator]()
      let from = 0
      if (isAsked) {
        const held = readHeld(await nextPiece(pieces))
        from = await source.read(parts.snapshots.agrees(index, held))
        await stream.write(withLength(numberBytes(from)), { signal })
      }
      for await (const chunk of source.each(parts.snapshots.chunks(index, from))) {
        await stream.write(withLength(chunk), { signal })
      }
      await stream.end()
      const thanks = await nextPiece(pieces)
      return thanks[0] === 1 ? "delivered" : "failed"
    } catch (error) {
      parts.logger.warn("snapshot not delivered", { to: to.peerId, error: String(error) })
      stream?.abort(error as Error)
      return source.isBroken ? "unreadable" : "failed"
    }
  }
}

/** Tells errors of the own disk from those of the stream. */
class Source {
  isBroken = false

  async read<T>(step: Promise<T>): Promise<T> {
    try {
      return await step
    } catch (error) {
      this.#note(error)
      throw error
    }
  }

  async *each(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const iterator = chunks[Symbol.asyncIterator]()
    try {
      for (;;) {
        const { done, value } = await this.read(iterator.next())
        if (done === true) return
        yield value
      }
    } finally {
      await iterator.return?.()
    }
  }

  #note(error: unknown): void {
    const isOurs = isTroupeError(error)
    this.isBroken = isOurs && (error.code === "ERR_LOG_CORRUPT" || error.code === "ERR_STORAGE")
  }
}

/** What a replica does with a snapshot that comes. */
export interface Incoming {
  /** What is here of it already. */
  held(): Promise<HeldChunks>
  take(chunks: AsyncIterable<Uint8Array>, from: number): Promise<void>
}

/** Takes a snapshot stream apart. Ends after 600 s at the latest: what came by then stays for the next one. */
export async function serveSnapshot(
  stream: ByteStream,
  clock: Parts["clock"],
  open: (header: Uint8Array) => Promise<Incoming>,
): Promise<void> {
  const signal = clock.timeoutSignal(snapshotMs, "receiving a snapshot")
  abortOn(signal, stream)
  const pieces = lengthPrefixed(stream.read)
  const first = await pieces.next()
  if (first.done === true) return
  const header = first.value
  const incoming = await open(header)
  const isAsked = canResume(header)
  let from = 0
  if (isAsked) {
    const held = await incoming.held()
    await stream.write(withLength(heldBytes(held)), { signal })
    from = Math.min(held.chunks, readNumber(await nextPiece(pieces)))
  }
  await incoming.take(pieces, from)
  await stream.write(isAsked ? withLength(Uint8Array.of(1)) : Uint8Array.of(1), { signal })
  await stream.end()
}

/** Senders that name their start ask first what is there; older ones send all. */
function canResume(header: Uint8Array): boolean {
  return (decodeFrame(header).boot ?? 0) > 0
}

function abortOn(signal: AbortSignal, stream: ByteStream): void {
  signal.addEventListener("abort", () => stream.abort(signal.reason as Error), { once: true })
}

function numberBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

function readNumber(bytes: Uint8Array): number {
  if (bytes.length < 4) throw new Error("a number that was cut short")
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
}

function heldBytes({ chunks, hash }: HeldChunks): Uint8Array {
  return Buffer.concat([numberBytes(chunks), Buffer.from(hash, "latin1")])
}

function readHeld(bytes: Uint8Array): HeldChunks {
  const hash = Buffer.from(bytes.subarray(4, 4 + hashBytes)).toString("latin1")
  return { chunks: readNumber(bytes), hash }
}

async function nextPiece(pieces: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  for (;;) {
    const { done, value } = await pieces.next()
    if (done === true) throw new Error("the other side ended the snapshot's stream")
    if (value.length > 0) return value
  }
}

function withLength(bytes: Uint8Array): Uint8Array {
  const framed = new Uint8Array(4 + bytes.length)
  new DataView(framed.buffer).setUint32(0, bytes.length, true)
  framed.set(bytes, 4)
  return framed
}

async function* lengthPrefixed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = []
  let bytes = 0
  let wanted = 4
  for await (const chunk of source) {
    parts.push(chunk)
    bytes += chunk.length
    if (bytes < wanted) continue
    let held = Buffer.concat(parts)
    wanted = 4
    while (held.length >= 4) {
      const length = held.readUInt32LE(0)
      if (length > pieceBytesMax) throw new Error(`snapshot piece of ${length} bytes`)
      wanted = 4 + length
      if (held.length < wanted) break
      yield held.subarray(4, wanted)
      held = held.subarray(wanted)
      wanted = 4
    }
    parts = [held]
    bytes = held.length
  }
  if (bytes > 0) throw new Error("snapshot stream cut short")
}
