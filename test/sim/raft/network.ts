/** Links between members: what becomes of a message that is sent on one. */
import type { Id } from "../../../src/consensus/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { Profile } from "./profile.ts"
import { streamOf } from "./streams.ts"

interface Link {
  readonly random: SeededRandom
  /** Nothing arrives before. */
  clogUntil: number
  lastArrival: number
}

/** One cut of the network; several may lie over each other. */
export type Cut = (from: Id, to: Id) => boolean

export class Network {
  readonly #seed: number
  readonly #profile: Profile
  readonly #links = new Map<string, Link>()
  readonly #cuts = new Set<Cut>()
  readonly #held = new Map<Id, (() => void)[]>()

  constructor(seed: number, profile: Profile) {
    this.#seed = seed
    this.#profile = profile
  }

  #link(from: Id, to: Id): Link {
    const name = `link ${from}>${to}`
    let link = this.#links.get(name)
    if (!link) {
      link = { random: streamOf(this.#seed, name), clogUntil: 0, lastArrival: 0 }
      this.#links.set(name, link)
    }
    return link
  }

  /** When its copies arrive; none: it is lost. */
  arrivals(from: Id, to: Id, { now, isCalm }: { now: number; isCalm: boolean }): readonly number[] {
    const link = this.#link(from, to)
    const { random } = link
    if (isCalm) return [now + 1 + random.below(3)]
    const { loss, duplicate, echoMsMax, delayMsMax, slowChance, slowMsMax } = this.#profile
    // Always as many draws, whatever the weather.
    const isLost = random.next() < loss
    const isDoubled = random.next() < duplicate
    const delay = random.below(random.next() < slowChance ? slowMsMax : delayMsMax)
    const echo = random.below(delayMsMax + echoMsMax)
    if (isLost) return []
    let at = Math.max(now + 1 + delay, link.clogUntil)
    if (this.#profile.isOrdered) {
      at = Math.max(at, link.lastArrival)
      link.lastArrival = at
    }
    return isDoubled ? [at, now + 1 + echo] : [at]
  }

  /** Until then nothing comes through; then everything does. */
  clog(from: Id, to: Id, until: number): void {
    const link = this.#link(from, to)
    link.clogUntil = Math.max(link.clogUntil, until)
  }

  /** What comes to a member waits, in order, until it is let go. */
  hold(to: Id): void {
    this.#held.set(to, [])
  }

  /** True: it waits now. */
  isHeld(to: Id, deliver: () => void): boolean {
    const waiting = this.#held.get(to)
    waiting?.push(deliver)
    return waiting !== undefined
  }

  letGo(to: Id): void {
    const waiting = this.#held.get(to) ?? []
    this.#held.delete(to)
    for (const deliver of waiting) deliver()
  }

  cut(cut: Cut): void {
    this.#cuts.add(cut)
  }

  mend(cut: Cut): void {
    this.#cuts.delete(cut)
  }

  mendAll(): void {
    this.#cuts.clear()
    for (const link of this.#links.values()) link.clogUntil = 0
  }

  isCut(from: Id, to: Id): boolean {
    for (const cut of this.#cuts) {
      if (cut(from, to)) return true
    }
    return false
  }
}
