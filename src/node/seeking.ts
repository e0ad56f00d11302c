/** Nodes without a cluster that hear each other: when one of them founds, and which. */
import type { Clock } from "../platform/index.ts"
import type { PeerRef } from "../schema/index.ts"
import type { Hello } from "../wire/index.ts"
import { seekersMax } from "../wire/index.ts"
import type { NodeOptions } from "./options.ts"

interface Seeker {
  readonly peer: PeerRef
  readonly expect: number | undefined
  /** Whom it hears, itself among them, sorted. */
  readonly hears: readonly string[]
  /** Boot-time clock. */
  readonly heardAt: number
}

export interface SeekingParts {
  readonly clock: Clock
  readonly options: Pick<NodeOptions, "timing" | "hasSeeds" | "expect">
  readonly self: string
  addresses(): readonly string[]
  /** Somebody that another one hears and this node does not. */
  approach(peer: PeerRef): void
  /** Nobody with a cluster was met, nor is one being joined. */
  isFree(): boolean
  /** Somebody was discovered who has not said yet whether it has a cluster. */
  isMeeting(): boolean
  found(): void
}

/** A seeker that was not heard for so many hellos is not counted. */
const freshHellos = 3

export class Seeking {
  readonly #parts: SeekingParts
  readonly #seekers = new Map<string, Seeker>()
  #timer: { cancel(): void } | undefined
  /** Boot-time clock. */
  #startedAt = 0

  constructor(parts: SeekingParts) {
    this.#parts = parts
  }

  /** With `--expect` time alone founds nothing. */
  start(): void {
    const { timing, hasSeeds, expect } = this.#parts.options
    this.#startedAt = this.#parts.clock.boottime()
    if (expect === undefined) this.#after(hasSeeds ? timing.formWithSeedsMs : timing.formMs)
  }

  stop(): void {
    this.#timer?.cancel()
  }

  /** Peers without a cluster, this node among them, by peer id. */
  peers(): readonly PeerRef[] {
    const { clock, options, self } = this.#parts
    const since = clock.boottime() - freshHellos * options.timing.helloMs
    for (const [peerId, { heardAt }] of this.#seekers) {
      if (heardAt < since) this.#seekers.delete(peerId)
    }
    const own = { peerId: self, addresses: this.#parts.addresses() }
    const others = [...this.#seekers.values()].map(({ peer }) => peer)
    return [own, ...others].toSorted((a, b) => (a.peerId < b.peerId ? -1 : 1))
  }

  heard(peerId: string, hello: Hello): void {
    if (this.#seekers.size >= seekersMax - 1 && !this.#seekers.has(peerId)) return
    const { expect, seekers, declaration } = hello
    this.#seekers.set(peerId, {
      peer: { peerId, addresses: declaration.addresses },
      expect,
      hears: seekers.map((peer) => peer.peerId),
      heardAt: this.#parts.clock.boottime(),
    })
    for (const peer of seekers) {
      const isKnown = peer.peerId === this.#parts.self || this.#seekers.has(peer.peerId)
      if (!isKnown) this.#parts.approach(peer)
    }
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
      if (lower) this.#seekers.clear()
      if (lower || this.#isMeeting()) this.#after(ms)
      else this.#parts.found()
    })
  }

  /** For a moment: one that is paused or cut off may never say who it is. */
  #isMeeting(): boolean {
    const { clock, options } = this.#parts
    const sought = clock.boottime() - this.#startedAt
    return sought < options.timing.formWithSeedsMs && this.#parts.isMeeting()
  }

  /** `--expect N`: founds when N or more hear exactly each other, all expect as many, and this one's id is the lowest. */
  #agree(): void {
    const { options, self } = this.#parts
    const { expect } = options
    if (expect === undefined || !this.#parts.isFree()) return
    const all = this.peers().map(({ peerId }) => peerId)
    if (all.length < expect || all[0] !== self) return
    const agreed = [...this.#seekers.values()].every(
      (seeker) =>
        seeker.expect === expect &&
        seeker.hears.length === all.length &&
        seeker.hears.every((peerId, place) => peerId === all[place]),
    )
    if (agreed) this.#parts.found()
  }
}
