/** How long each follower takes to answer a heartbeat, loops and all. */
import { RecentDurations } from "../lib/index.ts"

/** With heartbeats every 100 ms. */
const window = { windowMs: 30_000, steps: 6, expected: 300 }
/** Later than that, in election timeouts as configured, nothing was slow: the way was cut. What a cut took says nothing
 *  of the way, and timeouts that grew by it would keep the cluster without a leader long after it is mended. */
const lostAfter = 2

interface Way {
  readonly recent: RecentDurations
  /** When the oldest heartbeat without an answer left. */
  sentAt: number | undefined
}

/** As a leader sees it; another leadership begins anew. */
export class RoundTrips {
  readonly #ways = new Map<number, Way>()
  readonly #lostMs: number

  constructor({ electionMs }: { readonly electionMs: number }) {
    this.#lostMs = lostAfter * electionMs
  }

  sent(to: number, now: number): void {
    const way = this.#ways.get(to) ?? { recent: new RecentDurations(window), sentAt: undefined }
    this.#ways.set(to, way)
    // A lost one counts as a slow one: the next answer ends both.
    if (way.sentAt === undefined || now - way.sentAt > this.#lostMs) way.sentAt = now
  }

  answered(from: number, now: number): void {
    const way = this.#ways.get(from)
    if (way?.sentAt === undefined) return
    const took = now - way.sentAt
    if (took <= this.#lostMs) way.recent.record(now, took)
    way.sentAt = undefined
  }

  /** By member id, of those that answered lately. */
  view(
    now: number,
  ): readonly { readonly id: number; readonly p50Ms: number; readonly p99Ms: number }[] {
    return [...this.#ways]
      .filter(([, { recent }]) => recent.count(now) > 0)
      .map(([id, { recent }]) => ({
        id,
        p50Ms: recent.quantile(now, 0.5),
        p99Ms: recent.p99(now),
      }))
  }

  /** What was on the way when everything stood still, or when a connection broke, says nothing of the way. */
  interrupted(isHit: (id: number) => boolean = () => true): void {
    for (const [id, way] of this.#ways) if (isHit(id)) way.sentAt = undefined
  }

  clear(): void {
    this.#ways.clear()
  }
}
