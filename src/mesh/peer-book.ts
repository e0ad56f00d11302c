/** What is remembered of peers between connections: addresses, failed dials, when they were last heard. Bounded. */
import { meshLimits, meshPeriods } from "./limits.ts"

interface Entry {
  /** Newest knowledge first. Without peer id. */
  addresses: string[]
  failures: number
  /** Not to be dialled before this moment (boot time, ms). */
  notBefore: number
  failure: unknown
}

export class PeerBook {
  /** In order of last use, so that the first is the one to forget. */
  readonly #entries = new Map<string, Entry>()

  /** New addresses also end a backoff: the peer may have come back elsewhere. True when there were new ones. */
  learn(peerId: string, addresses: readonly string[]): boolean {
    const entry = this.#entry(peerId)
    const fresh = addresses.filter((address) => !entry.addresses.includes(address))
    if (fresh.length === 0) return false
    entry.addresses = [...fresh, ...entry.addresses].slice(0, meshLimits.addressesMax)
    entry.notBefore = 0
    return true
  }

  /** This address works: it is tried first next time. */
  reached(peerId: string, address: string | undefined): void {
    const entry = this.#entry(peerId)
    entry.failures = 0
    entry.notBefore = 0
    entry.failure = undefined
    if (address === undefined) return
    const others = entry.addresses.filter((other) => other !== address)
    entry.addresses = [address, ...others].slice(0, meshLimits.addressesMax)
  }

  /** Doubles the time until the next dial. */
  failed(peerId: string, failure: { error: unknown; refused: boolean; now: number }): void {
    const entry = this.#entry(peerId)
    const max = failure.refused ? meshPeriods.backoffRefusedMaxMs : meshPeriods.backoffMaxMs
    entry.notBefore = failure.now + Math.min(max, meshPeriods.backoffMinMs * 2 ** entry.failures)
    entry.failures = Math.min(entry.failures + 1, 16)
    entry.failure = failure.error
  }

  /** Why the peer is not dialled just now, if so. */
  backingOff(peerId: string, now: number): { error: unknown } | undefined {
    const entry = this.#entries.get(peerId)
    return entry && now < entry.notBefore ? { error: entry.failure } : undefined
  }

  /** Seen by discovery: it lives, so a dial is worth trying now. */
  seen(peerId: string): void {
    const entry = this.#entries.get(peerId)
    if (entry) entry.notBefore = 0
  }

  addresses(peerId: string): readonly string[] {
    return this.#entries.get(peerId)?.addresses ?? []
  }

  knows(peerId: string): boolean {
    return this.#entries.has(peerId)
  }

  #entry(peerId: string): Entry {
    const known = this.#entries.get(peerId)
    const entry = known ?? { addresses: [], failures: 0, notBefore: 0, failure: undefined }
    this.#entries.delete(peerId)
    this.#entries.set(peerId, entry)
    if (this.#entries.size > meshLimits.peersMax) {
      const [oldest] = this.#entries.keys()
      this.#entries.delete(oldest!)
    }
    return entry
  }
}
