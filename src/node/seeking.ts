/** Nodes without a cluster that hear each other: when one of them founds, and which. */
import type { Clock } from "../platform/index.ts"
import type { Hello } from "../wire/index.ts"
import { seekersMax } from "../wire/index.ts"
import type { NodeOptions } from "./options.ts"

interface Seeker {
  readonly expect: number | undefined
  /** Whom it hears, itself among them, sorted. */
  readonly seekers: readonly string[]
  /** Boot-time clock. */
  readonly heardAt: number
}

export interface SeekingParts {
  readonly clock: Clock
  readonly options: Pick<NodeOptions, "timing" | "hasSeeds" | "expect">
  readonly self: string
  /** Nobody with a cluster was met, nor is one being joined. */
  isFree(): boolean
  found(): void
}

/** A seeker that was not heard for so many hellos is not counted. */
const freshHellos = 3

export class Seeking {
  readonly #parts: SeekingParts
  readonly #seekers = new Map<string, Seeker>()
  #timer: { cancel(): void } | undefined

  constructor(parts: SeekingParts) {
    this.#parts = parts
  }

  /** With `--expect` time alone founds nothing. */
  start(): void {
    const { timing, hasSeeds, expect } = this.#parts.options
    if (expect === undefined) this.#after(hasSeeds ? timing.formWithSeedsMs : timing.formMs)
  }

  stop(): void {
    this.#timer?.cancel()
  }

  /** Peer ids without a cluster, this node among them, sorted. */
  peers(): readonly string[] {
    const { clock, options, self } = this.#parts
    const since = clock.boottime() - freshHellos * options.timing.helloMs
    for (const [peerId, { heardAt }] of this.#seekers) {
      if (heardAt < since) this.#seekers.delete(peerId)
    }
    return [self, ...this.#seekers.keys()].toSorted()
  }

  heard(peerId: string, hello: Hello): void {
    if (this.#seekers.size >= seekersMax - 1 && !this.#seekers.has(peerId)) return
    const { expect, seekers } = hello
    const heardAt = this.#parts.clock.boottime()
    this.#seekers.set(peerId, { expect, seekers, heardAt })
    this.#agree()
  }

  /** It has a cluster now, or none of this name. */
  lost(peerId: string): void {
    this.#seekers.delete(peerId)
  }

  #after(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.after(ms, () => {
      if (!this.#parts.isFree()) return
      // Somebody with a lower id seeks too and will found in a moment: one more turn saves a dissolution.
      const lower = [...this.#seekers.keys()].some((peerId) => peerId < this.#parts.self)
      if (lower) {
        this.#seekers.clear()
        this.#after(ms)
      } else this.#parts.found()
    })
  }

  /** `--expect N`: founds when N or more hear exactly each other, all expect as many, and this one's id is the lowest. */
  #agree(): void {
    const { options, self } = this.#parts
    const { expect } = options
    if (expect === undefined || !this.#parts.isFree()) return
    const all = this.peers()
    if (all.length < expect || all[0] !== self) return
    const agreed = [...this.#seekers.values()].every(
      (seeker) =>
        seeker.expect === expect &&
        seeker.seekers.length === all.length &&
        seeker.seekers.every((peerId, place) => peerId === all[place]),
    )
    if (agreed) this.#parts.found()
  }
}
