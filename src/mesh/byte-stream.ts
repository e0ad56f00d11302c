/** A libp2p stream as a ByteStream: a bounded reader and a writer that waits for room. */
import type { Stream, StreamCloseEvent, StreamMessageEvent } from "@libp2p/interface"
import { connectionLost } from "./failures.ts"
import { meshLimits } from "./limits.ts"
import { plainBytes } from "./plain-bytes.ts"
import type { ByteStream } from "./types.ts"

export function byteStream(stream: Stream, peerId: string): ByteStream {
  return {
    peerId,
    read: new BoundedReader(stream, peerId),
    async write(chunk, options = {}) {
      options.signal?.throwIfAborted()
      await room(stream, peerId, options.signal)
      if (stream.writeStatus !== "writable") throw connectionLost(peerId)
      if (!stream.send(chunk)) await room(stream, peerId, options.signal)
    },
    async end() {
      await stream.close()
    },
    abort: (reason) => stream.abort(reason),
  }
}

/** Waits until the stream takes more. Not `stream.onDrain()`: in libp2p 3.3 its promise is made once and stays
 *  resolved after the first drain. */
async function room(stream: Stream, peerId: string, signal?: AbortSignal): Promise<void> {
  while (stream.writableNeedsDrain) {
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error) => {
        stream.removeEventListener("drain", drained)
        stream.removeEventListener("close", closed)
        signal?.removeEventListener("abort", aborted)
        if (error) reject(error)
        else resolve()
      }
      const drained = () => settle()
      const closed = () => settle(connectionLost(peerId))
      const aborted = () => settle(signal?.reason as Error)
      stream.addEventListener("drain", drained)
      stream.addEventListener("close", closed)
      signal?.addEventListener("abort", aborted)
      if (signal?.aborted) aborted()
      else if (stream.status !== "open") closed()
    })
  }
}

/** Reads in order and at the reader's pace. libp2p holds nobody back by itself: its own iterator buffers without end,
 *  and takes a lost connection for a proper end. */
class BoundedReader implements AsyncIterableIterator<Uint8Array> {
  readonly #stream: Stream
  readonly #peerId: string
  readonly #chunks: Uint8Array[] = []
  #size = 0
  #resuming = false
  /** The other side ended its writing itself. */
  #finished = false
  #over = false
  #left = false
  #error: Error | undefined
  #wake: (() => void) | undefined

  constructor(stream: Stream, peerId: string) {
    this.#stream = stream
    this.#peerId = peerId
    this.#finished = stream.remoteWriteStatus === "closed"
    stream.addEventListener("remoteCloseWrite", () => (this.#finished = true))
    stream.addEventListener("end", () => this.#end())
    stream.addEventListener("close", (event) => this.#closed(event))
    // Last: adding it delivers what has come already.
    stream.addEventListener("message", (event) => this.#received(event))
    if (stream.readableEnded) this.#end()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk) {
        this.#size -= chunk.byteLength
        if (this.#size < meshLimits.readLowBytes) this.#resume()
        return { done: false, value: chunk }
      }
      if (this.#error && !this.#left) throw this.#error
      if (this.#over || this.#left) return { done: true, value: undefined }
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** The reader has what it wants: what still comes is dropped. */
  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#left = true
    this.#chunks.length = 0
    this.#size = 0
    this.#resume()
    this.#awake()
    return { done: true, value: undefined }
  }

  #received(event: StreamMessageEvent): void {
    if (this.#left) return
    for (const chunk of event.data instanceof Uint8Array ? [event.data] : event.data) {
      this.#chunks.push(plainBytes(chunk))
      this.#size += chunk.byteLength
    }
    if (!this.#resuming) this.#pauseIfFull()
    this.#awake()
  }

  #pauseIfFull(): void {
    if (this.#size < meshLimits.readHighBytes || this.#stream.readStatus !== "readable") return
    this.#stream.pause()
  }

  /** A pause inside libp2p's resume is undone by it, so the queue is looked at again afterwards. */
  #resume(): void {
    if (this.#resuming || this.#stream.readStatus !== "paused") return
    this.#resuming = true
    try {
      this.#stream.resume()
    } catch (error) {
      // What was buffered has been delivered; telling a closed connection to go on is what failed.
      if (this.#stream.status === "open") throw error
    } finally {
      this.#resuming = false
    }
    this.#pauseIfFull()
  }

  #end(): void {
    this.#over = true
    if (!this.#finished) this.#error ??= connectionLost(this.#peerId)
    this.#awake()
  }

  #closed(event: StreamCloseEvent): void {
    if (this.#over) return
    const unread = this.#stream.readBufferLength > 0
    if (event.error) this.#error ??= this.#reason(event)
    // After a proper end on both sides what is buffered can still be read; `end` follows it.
    if (event.error || !unread) this.#end()
  }

  #reason(event: StreamCloseEvent): Error {
    return event.local && event.error ? event.error : connectionLost(this.#peerId)
  }

  #awake(): void {
    this.#wake?.()
    this.#wake = undefined
  }
}
