/** Requests over kept streams: opening one costs a millisecond, an answer on a kept one a third of that. */
import { setMaxListeners } from "node:events"
import type { Stream } from "@libp2p/interface"
import * as lengthPrefixed from "it-length-prefixed"
import { pipe } from "it-pipe"
import { type Logger, until } from "../platform/index.ts"
import { isTroupeError } from "../schema/index.ts"
import {
  decodeEnvelope,
  decodeFailure,
  encodeEnvelope,
  encodeFailure,
  type Envelope,
  type EnvelopeKind,
  envelopeBytesMax,
} from "./envelope.ts"
import { busy, connectionLost, notConnected, stopped, tooLarge } from "./failures.ts"
import { meshLimits } from "./limits.ts"
import type { RequestHandler } from "./types.ts"

function send(stream: Stream, id: number, kind: EnvelopeKind, body?: Uint8Array): void {
  const frame = encodeEnvelope(id, kind, body)
  stream.send(lengthPrefixed.encode.single(frame, { maxDataLength: envelopeBytesMax }))
}

/** The other side reads too slowly. Above writeBufferBytesMax libp2p would reset the stream. */
function isClogged(stream: Stream): boolean {
  return stream.writeBufferLength > meshLimits.requestBacklogBytes
}

/** Calls `take` for every frame, until the stream ends. Safe without backpressure of our own: `take` never waits. */
async function receive(stream: Stream, take: (envelope: Envelope) => void): Promise<void> {
  await pipe(
    stream,
    (source) => lengthPrefixed.decode(source, { maxDataLength: envelopeBytesMax }),
    async (frames) => {
      for await (const frame of frames) take(decodeEnvelope(frame))
    },
  )
}

interface Pending {
  resolve(body: Uint8Array): void
  reject(error: Error): void
}

/** Our requests to one peer on one protocol. */
export class RequestLink {
  readonly #peerId: string
  readonly #protocol: string
  readonly #heard: () => void
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  #stream: Stream | undefined
  #opening: Promise<Stream> | undefined
  #waiting = 0
  #stopped = false

  constructor(peer: { peerId: string; protocol: string }, heard: () => void) {
    this.#peerId = peer.peerId
    this.#protocol = peer.protocol
    this.#heard = heard
  }

  get idle(): boolean {
    return this.#pending.size === 0 && this.#waiting === 0
  }

  /** `open` makes a stream when none is kept; its failure is ERR_PEER_UNREACHABLE, "not connected". */
  async request(
    payload: Uint8Array,
    open: () => Promise<Stream>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    signal.throwIfAborted()
    if (payload.length > meshLimits.requestBytesMax) {
      throw tooLarge("a request", meshLimits.requestBytesMax)
    }
    if (this.#pending.size + this.#waiting >= meshLimits.requestsInFlightMax) {
      throw busy(`requests to ${this.#peerId} on ${this.#protocol}`)
    }
    const stream = this.#usable() ?? (await this.#wait(this.#open(open), signal))
    if (isClogged(stream)) throw busy(`unsent requests to ${this.#peerId}`)
    return await this.#exchange(stream, { kind: "request", body: payload }, signal)
  }

  /** An empty exchange on the kept stream: is anybody there? */
  async ping(open: () => Promise<Stream>, signal: AbortSignal): Promise<void> {
    const stream = this.#usable() ?? (await this.#wait(this.#open(open), signal))
    await this.#exchange(stream, { kind: "ping" }, signal)
  }

  stop(): void {
    this.#stopped = true
    this.#fail(stopped())
    this.#stream?.abort(stopped())
    this.#stream = undefined
  }

  #usable(): Stream | undefined {
    const stream = this.#stream
    return stream?.status === "open" && stream.writeStatus === "writable" ? stream : undefined
  }

  #open(open: () => Promise<Stream>): Promise<Stream> {
    this.#opening ??= open()
      .then((stream) => this.#keep(stream))
      .finally(() => (this.#opening = undefined))
    return this.#opening
  }

  /** Waits for the shared opening, but no longer than this caller wants to. */
  async #wait(opening: Promise<Stream>, signal: AbortSignal): Promise<Stream> {
    this.#waiting++
    try {
      return await until(opening, signal)
    } finally {
      this.#waiting--
    }
  }

  #keep(stream: Stream): Stream {
    if (this.#stopped) {
      stream.abort(stopped())
      throw stopped()
    }
    this.#stream = stream
    const lost = (error?: unknown) => {
      if (this.#stream !== stream) return
      this.#stream = undefined
      stream.abort(error instanceof Error ? error : connectionLost(this.#peerId))
      this.#fail(connectionLost(this.#peerId))
    }
    stream.addEventListener("close", () => lost())
    receive(stream, (envelope) => this.#answered(envelope)).then(() => lost(), lost)
    return stream
  }

  #exchange(
    stream: Stream,
    message: { kind: "request" | "ping"; body?: Uint8Array },
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const id = this.#nextId++
    // One signal may stand for many requests.
    setMaxListeners(0, signal)
    return new Promise((resolve, reject) => {
      const settle = () => {
        signal.removeEventListener("abort", aborted)
        this.#pending.delete(id)
      }
      const aborted = () => {
        settle()
        if (this.#stream === stream && this.#usable()) send(stream, id, "cancel")
        reject(signal.reason as Error)
      }
      this.#pending.set(id, {
        resolve: (body) => (settle(), resolve(body)),
        reject: (error) => (settle(), reject(error)),
      })
      signal.addEventListener("abort", aborted, { once: true })
      if (signal.aborted) return aborted()
      try {
        send(stream, id, message.kind, message.body)
      } catch (error) {
        settle()
        reject(notConnected(this.#peerId, error))
      }
    })
  }

  #answered(envelope: Envelope): void {
    this.#heard()
    const pending = this.#pending.get(envelope.id)
    // An answer to what was cancelled meanwhile.
    if (!pending) return
    if (envelope.kind === "failure") {
      pending.reject(decodeFailure(envelope.body, this.#protocol))
    } else pending.resolve(envelope.body)
  }

  #fail(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error)
  }
}

/** Answers the requests of one peer on one of its streams, until the stream ends. */
export async function serveRequests(
  stream: Stream,
  from: { peerId: string; protocol: string },
  parts: { handler: RequestHandler | undefined; heard: () => void; logger: Logger },
): Promise<void> {
  const running = new Map<number, AbortController>()
  const open = () => stream.status === "open" && stream.writeStatus === "writable"
  const reply = (id: number, kind: EnvelopeKind, body?: Uint8Array) => {
    if (open()) send(stream, id, kind, body)
  }
  const serve = async (id: number, body: Uint8Array) => {
    if (!parts.handler) throw new Error(`nobody answers ${from.protocol}`)
    if (running.size >= meshLimits.requestsInFlightMax) throw busy(`requests of ${from.peerId}`)
    const controller = new AbortController()
    running.set(id, controller)
    try {
      const answer = await parts.handler(from.peerId, body, { signal: controller.signal })
      if (answer.length > meshLimits.requestBytesMax) {
        throw tooLarge("an answer", meshLimits.requestBytesMax)
      }
      if (isClogged(stream)) throw busy(`unread answers of ${from.peerId}`)
      reply(id, "answer", answer)
    } finally {
      running.delete(id)
    }
  }
  const failed = (id: number, error: unknown) => {
    if (!isTroupeError(error)) {
      parts.logger.warn("a request handler failed", { ...from, error: String(error) })
    }
    reply(id, "failure", encodeFailure(error, from.protocol))
  }
  const leave = () => {
    for (const controller of running.values()) controller.abort(connectionLost(from.peerId))
  }
  stream.addEventListener("close", leave)
  try {
    await receive(stream, ({ id, kind, body }) => {
      parts.heard()
      if (kind === "ping") reply(id, "pong")
      else if (kind === "cancel") running.get(id)?.abort(connectionLost(from.peerId))
      else if (kind === "request" && !running.has(id)) {
        serve(id, body).catch((error: unknown) => failed(id, error))
      }
    })
    if (open()) await stream.close()
  } finally {
    leave()
  }
}
