/** Notices hosts that fell silent: TCP alone would go on waiting for minutes. */
import type { Clock, Timer } from "../platform/index.ts"
import { meshPeriods } from "./limits.ts"

export interface PulseParts {
  readonly clock: Clock
  readonly peers: () => readonly string[]
  /** Rejects when there is no answer in time. */
  readonly ping: (peerId: string, signal: AbortSignal) => Promise<void>
  readonly cut: (peerId: string, reason: Error) => void
}

export class Pulse {
  readonly #parts: PulseParts
  readonly #heardAt = new Map<string, number>()
  readonly #asked = new Set<string>()
  #timer: Timer | undefined

  constructor(parts: PulseParts) {
    this.#parts = parts
  }

  start(): void {
    this.#timer ??= this.#parts.clock.every(meshPeriods.pulseMs, () => this.#beat())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Anything came from this peer. */
  heard(peerId: string): void {
    this.#heardAt.set(peerId, this.#parts.clock.boottime())
  }

  #beat(): void {
    const now = this.#parts.clock.boottime()
    const peers = new Set(this.#parts.peers())
    for (const peerId of this.#heardAt.keys()) if (!peers.has(peerId)) this.#heardAt.delete(peerId)
    for (const peerId of peers) {
      const heardAt = this.#heardAt.get(peerId)
      if (heardAt === undefined) this.#heardAt.set(peerId, now)
      else if (now - heardAt >= meshPeriods.idleMs && !this.#asked.has(peerId)) this.#ask(peerId)
    }
  }

  /** The limit runs from the question, so that our own standstill cuts nobody off. */
  #ask(peerId: string): void {
    const limit = meshPeriods.silenceMs - meshPeriods.idleMs
    const signal = this.#parts.clock.timeoutSignal(limit, `an answer of ${peerId}`)
    this.#asked.add(peerId)
    this.#parts.ping(peerId, signal).then(
      () => this.#asked.delete(peerId),
      () => {
        this.#asked.delete(peerId)
        // Another failure than silence ends the connection by itself.
        if (signal.aborted) this.#parts.cut(peerId, signal.reason as Error)
      },
    )
  }
}
