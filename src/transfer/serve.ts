/** Serving this node's blobs to peers, a few at a time. */
import { CodecError } from "../lib/index.ts"
import { Digest } from "../schema/index.ts"
import { encodeAnswer, readRequest } from "./protocol.ts"
import { watchStall } from "./stall.ts"
import { type BlobStream, type TransferParts, transferLimits } from "./types.ts"

export class Server {
  readonly #parts: TransferParts
  /** Streams being served, by peer. */
  readonly #serving = new Map<string, Set<BlobStream>>()
  #total = 0
  #stopped: Error | undefined

  constructor(parts: TransferParts) {
    this.#parts = parts
  }

  async serve(stream: BlobStream): Promise<void> {
    if (this.#stopped) throw this.#stopped
    const mine = this.#serving.get(stream.peerId) ?? new Set()
    const room =
      mine.size < transferLimits.servesPerPeerMax && this.#total < transferLimits.servesMax
    if (!room) return await stream.write(encodeAnswer({ status: "busy", bytes: 0 }))
    this.#serving.set(stream.peerId, mine.add(stream))
    this.#total++
    const watch = watchStall(this.#parts.clock, `sending to ${stream.peerId}`, (error) =>
      stream.abort(error),
    )
    try {
      await this.#answer(stream, () => watch.touch())
    } finally {
      watch.stop()
      mine.delete(stream)
      this.#total--
      if (mine.size === 0) this.#serving.delete(stream.peerId)
    }
  }

  stop(reason: Error): void {
    this.#stopped = reason
    for (const streams of this.#serving.values()) {
      for (const stream of streams) stream.abort(reason)
    }
  }

  async #answer(stream: BlobStream, moved: () => void): Promise<void> {
    const { digest, offset } = await readRequest(stream.read[Symbol.asyncIterator]())
    if (!Digest.safeParse(digest).success) throw new CodecError("not a digest")
    const blob = await this.#parts.blobs.has(digest)
    if (!blob) return await stream.write(encodeAnswer({ status: "missing", bytes: 0 }))
    await stream.write(encodeAnswer({ status: "found", bytes: blob.bytes }))
    if (offset >= blob.bytes) return
    for await (const chunk of this.#parts.blobs.read(digest, { offset })) {
      await stream.write(chunk)
      moved()
    }
  }
}
