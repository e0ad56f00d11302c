/** Consensus frames: length-prefixed on one long-lived one-way stream to each peer. Latency matters most here, so
 *  frames are cut from libp2p's message events directly, without an iterator's turns in between. */
import type { Stream } from "@libp2p/interface"
import { CodecError, Writer } from "../lib/index.ts"
import { meshLimits } from "./limits.ts"
import { plainBytes } from "./plain-bytes.ts"

/** Cuts a byte stream into frames. A frame that came in one piece is a view, not a copy. */
export class FrameReader {
  #chunks: Uint8Array[] = []
  #size = 0
  /** Bytes that must be there before another look is worth it. */
  #need = 1

  /** Throws CodecError when a frame is larger than allowed: the stream is lost then. */
  push(chunk: Uint8Array, take: (frame: Uint8Array) => void): void {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    if (this.#size < this.#need) return
    let bytes = plainBytes(this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks))
    this.#chunks = []
    for (;;) {
      const header = readLength(bytes)
      this.#need = header ? header.size + header.length : bytes.length + 1
      if (!header || bytes.length < this.#need) break
      const frame = bytes.subarray(header.size, this.#need)
      bytes = bytes.subarray(this.#need)
      take(frame)
    }
    this.#size = bytes.length
    if (bytes.length > 0) this.#chunks.push(bytes)
  }
}

function readLength(bytes: Uint8Array): { size: number; length: number } | undefined {
  let length = 0
  // Four bytes hold 256 MiB; a fifth is past every allowed frame.
  for (let size = 0; size < 4; size++) {
    const byte = bytes[size]
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 0x80 ** size
    if (length > meshLimits.frameBytesMax) break
    if (byte < 0x80) return { size: size + 1, length }
  }
  throw new CodecError(`a frame of more than ${meshLimits.frameBytesMax} bytes`)
}

/** Reads frames for as long as the stream lives. Never paused: `take` is synchronous. */
export function readFrames(stream: Stream, take: (frame: Uint8Array) => void): void {
  const reader = new FrameReader()
  stream.addEventListener("message", ({ data }) => {
    try {
      reader.push(data instanceof Uint8Array ? data : data.subarray(), take)
    } catch (error) {
      if (!(error instanceof CodecError)) throw error
      stream.abort(error)
    }
  })
}

/** Our frames to one peer. It never makes its caller wait: what has no room is dropped. */
export class FrameLink {
  readonly #open: () => Promise<Stream>
  readonly #isAway: () => boolean
  readonly #queue: Uint8Array[] = []
  #bytes = 0
  #stream: Stream | undefined
  #opening = false
  #flushing = false
  #stopped = false

  /** `open` connects and opens; `isAway` tells that it would fail at once. */
  constructor(open: () => Promise<Stream>, isAway: () => boolean) {
    this.#open = open
    this.#isAway = isAway
  }

  get idle(): boolean {
    return this.#queue.length === 0 && !this.#opening
  }

  get isOpen(): boolean {
    return this.#stream !== undefined
  }

  send(frame: Uint8Array): boolean {
    if (this.#stopped || frame.length > meshLimits.frameBytesMax) return false
    if (this.#queue.length >= meshLimits.frameQueueMax) return false
    if (this.#bytes + frame.length > meshLimits.frameQueueBytesMax) return false
    if (!this.#stream && !this.#opening && this.#isAway()) return false
    this.#queue.push(frame)
    this.#bytes += frame.length
    if (!this.#stream) this.#connect()
    else this.#schedule()
    return true
  }

  stop(): void {
    this.#stopped = true
    this.#clear()
    this.#stream?.abort(new Error("the mesh stops"))
    this.#stream = undefined
  }

  #connect(): void {
    if (this.#opening) return
    this.#opening = true
    this.#open().then(
      (stream) => this.#opened(stream),
      () => {
        // Consensus sends again what matters; what waited here is stale by then.
        this.#opening = false
        this.#clear()
      },
    )
  }

  #opened(stream: Stream): void {
    this.#opening = false
    if (this.#stopped) return stream.abort(new Error("the mesh stops"))
    this.#stream = stream
    stream.addEventListener("drain", () => this.#schedule())
    stream.addEventListener("close", () => {
      if (this.#stream === stream) this.#stream = undefined
    })
    this.#flush()
  }

  /** All frames of one turn leave as one write. */
  #schedule(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#stream && this.#queue.length > 0) {
      const stream = this.#stream
      if (stream.writableNeedsDrain) return
      try {
        stream.send(this.#batch())
      } catch {
        // Closed meanwhile: the next frame connects again.
        if (this.#stream === stream) this.#stream = undefined
        stream.abort(new Error("the stream takes no more frames"))
      }
    }
  }

  #batch(): Uint8Array {
    const writer = new Writer()
    let count = 0
    let size = 0
    while (count < this.#queue.length && size < meshLimits.frameBatchBytes) {
      const frame = this.#queue[count++]!
      size += frame.length
      writer.varint(frame.length)
      writer.raw(frame)
    }
    this.#queue.splice(0, count)
    this.#bytes -= size
    return writer.finish()
  }

  #clear(): void {
    this.#queue.length = 0
    this.#bytes = 0
  }
}
