/** Blobs between nodes: fetches are shared and few at a time, and this node's own blobs are served. */
import { until } from "../platform/index.ts"
import { Digest, type PeerRef, TroupeError } from "../schema/index.ts"
import { fetchBlob } from "./fetch.ts"
import { tidyPartials } from "./partial.ts"
import { Server } from "./serve.ts"
import {
  blobProtocol,
  type Transfer,
  transferLimits,
  type TransferOptions,
  type TransferParts,
} from "./types.ts"

/** No I/O before `start`. */
export function createTransfer(options: TransferOptions, parts: TransferParts): Transfer {
  return new MeshTransfer(options, parts)
}

interface Shared {
  readonly result: Promise<{ bytes: number }>
  readonly controller: AbortController
  /** Of all callers; the fetch looks at it as it goes. */
  readonly peers: PeerRef[]
  callers: number
}

class MeshTransfer implements Transfer {
  readonly #options: TransferOptions
  readonly #parts: TransferParts
  readonly #server: Server
  readonly #shared = new Map<string, Shared>()
  /** Fetches that nobody wants any more and that have not ended yet: the next one of that digest waits for it. */
  readonly #ending = new Map<string, Promise<unknown>>()
  readonly #waiting = new Set<() => void>()
  #running = 0
  #tidied: Promise<void> | undefined
  #stopped: Error | undefined

  constructor(options: TransferOptions, parts: TransferParts) {
    this.#options = options
    this.#parts = parts
    this.#server = new Server(parts)
  }

  start(): void {
    this.#parts.mesh.onStream(blobProtocol, (stream) => this.#server.serve(stream))
  }

  async stop(): Promise<void> {
    this.#stopped ??= stopped()
    this.#server.stop(this.#stopped)
    for (const { controller } of this.#shared.values()) controller.abort(this.#stopped)
    await Promise.allSettled(this.#ending.values())
  }

  async fetch(
    digest: string,
    from: readonly PeerRef[],
    options: { signal: AbortSignal },
  ): Promise<{ bytes: number }> {
    const { signal } = options
    signal.throwIfAborted()
    if (this.#stopped) throw this.#stopped
    // It becomes part of a file's name.
    if (!Digest.safeParse(digest).success) throw new Error(`not a digest: ${digest}`)
    const shared = this.#shared.get(digest) ?? this.#begin(digest)
    const known = new Set(shared.peers.map((peer) => peer.peerId))
    shared.peers.push(...from.filter((peer) => !known.has(peer.peerId)))
    shared.callers++
    try {
      return await until(shared.result, signal)
    } finally {
      shared.callers--
      if (shared.callers === 0) shared.controller.abort(signal.reason ?? stopped())
    }
  }

  #begin(digest: string): Shared {
    const controller = new AbortController()
    const { signal } = controller
    const peers: PeerRef[] = []
    const before = this.#ending.get(digest) ?? Promise.resolve()
    const result = before.then(() => this.#run(digest, peers, signal))
    const shared: Shared = { result, controller, peers, callers: 0 }
    this.#shared.set(digest, shared)
    const settled = result.then(
      () => this.#forget(digest, shared),
      () => this.#forget(digest, shared),
    )
    signal.addEventListener("abort", () => {
      // Who asks for it from now on starts anew and does not inherit the end of this one.
      if (this.#shared.get(digest) !== shared) return
      this.#shared.delete(digest)
      const ending = settled.then(() => {
        if (this.#ending.get(digest) === ending) this.#ending.delete(digest)
      })
      this.#ending.set(digest, ending)
    })
    return shared
  }

  #forget(digest: string, shared: Shared): void {
    if (this.#shared.get(digest) === shared) this.#shared.delete(digest)
  }

  async #run(
    digest: string,
    peers: readonly PeerRef[],
    signal: AbortSignal,
  ): Promise<{ bytes: number }> {
    const present = await this.#parts.blobs.has(digest)
    if (present) return { bytes: present.bytes }
    await this.#turn(signal)
    try {
      this.#tidied ??= tidyPartials(this.#options.directory, this.#parts.clock.now())
      await this.#tidied
      const { directory } = this.#options
      return await fetchBlob(digest, peers, { ...this.#parts, directory }, signal)
    } finally {
      this.#running--
      const [next] = this.#waiting
      next?.()
    }
  }

  /** Waits until fewer than `fetchesMax` are under way. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= transferLimits.fetchesWaitingMax) {
      const details = { what: "blob fetches", retryAfterMs: 1000 }
      throw new TroupeError("ERR_BUSY", "too many blobs are being fetched", details)
    }
    while (this.#running >= transferLimits.fetchesMax) {
      const turn = Promise.withResolvers<void>()
      this.#waiting.add(turn.resolve)
      try {
        await until(turn.promise, signal)
      } finally {
        this.#waiting.delete(turn.resolve)
      }
    }
    signal.throwIfAborted()
    this.#running++
  }
}

function stopped(): TroupeError<"ERR_STOPPED"> {
  return new TroupeError("ERR_STOPPED", "transfers are stopped", { what: "transfer" })
}
