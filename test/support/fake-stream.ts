/** Two joined byte streams with bounded room between them. */
import type { ByteStream } from "../../src/mesh/index.ts"

const roomBytes = 512 << 10

type Send = (run: () => void) => void

/** What one side has been sent and has not read yet. */
class Inbox implements AsyncIterableIterator<Uint8Array> {
  readonly #chunks: Uint8Array[] = []
  readonly #wake = new Set<() => void>()
  /** Sent and not read yet, on the way or arrived. */
  unread = 0
  #over = false
  #left = false
  error: Error | undefined;

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk) {
        this.unread -= chunk.length
        this.#awake()
        return { done: false, value: chunk }
      }
      if (this.#over || this.#left) return { done: true, value: undefined }
      if (this.error) throw this.error
      await this.changed()
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#left = true
    this.#chunks.length = 0
    this.unread = 0
    this.#awake()
    return { done: true, value: undefined }
  }

  push(chunk: Uint8Array): void {
    if (this.#left) this.unread -= chunk.length
    else this.#chunks.push(chunk)
    this.#awake()
  }

  finish(): void {
    this.#over = true
    this.#awake()
  }

  fail(error: Error): void {
    this.error ??= error
    this.#awake()
  }

  changed(): Promise<void> {
    return new Promise((resolve) => this.#wake.add(resolve))
  }

  #awake(): void {
    for (const wake of this.#wake) wake()
    this.#wake.clear()
  }
}

export class FakePipe {
  readonly one: ByteStream
  readonly other: ByteStream
  readonly #inboxes: readonly [Inbox, Inbox] = [new Inbox(), new Inbox()]
  readonly #names: { one: string; other: string }

  constructor(names: { one: string; other: string }, send: { toOther: Send; toOne: Send }) {
    this.#names = names
    const [mine, theirs] = this.#inboxes
    this.one = side(names.other, { read: mine, write: theirs }, send.toOther)
    this.other = side(names.one, { read: theirs, write: mine }, send.toOne)
  }

  /** The connection under it is gone, as this peer sees it. */
  broken(peerId: string, error: Error): void {
    const [mine, theirs] = this.#inboxes
    const own = peerId === this.#names.one ? mine : theirs
    own.fail(error)
  }
}

function side(peerId: string, boxes: { read: Inbox; write: Inbox }, send: Send): ByteStream {
  let ended = false
  return {
    peerId,
    read: boxes.read,
    async write(chunk, options = {}) {
      options.signal?.throwIfAborted()
      const copy = chunk.slice()
      // A connection that broke shows on our own inbox.
      const broken = () => boxes.read.error ?? boxes.write.error
      if (ended || broken()) throw broken() ?? new Error("written after its end")
      boxes.write.unread += copy.length
      send(() => boxes.write.push(copy))
      while (boxes.write.unread > roomBytes && !broken()) {
        options.signal?.throwIfAborted()
        await Promise.race([boxes.write.changed(), boxes.read.changed(), abortOf(options.signal)])
      }
      const error = broken()
      if (error) throw error
    },
    async end() {
      if (ended) return
      ended = true
      send(() => boxes.write.finish())
    },
    abort(reason) {
      ended = true
      boxes.read.fail(reason)
      send(() => boxes.write.fail(reason))
    },
  }
}

function abortOf(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) =>
    signal?.addEventListener("abort", () => resolve(), { once: true }),
  )
}
