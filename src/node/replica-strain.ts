/** What hardship a replica measures: slow round trips, a slow loop, a slow disk, and one that hangs. */
import type { Clock, Logger } from "../platform/index.ts"
import type { Need } from "./patience.ts"
import type { LogDriver } from "./replica-log.ts"
import type { RoundTrips } from "./round-trips.ts"
import type { Tally } from "./tally.ts"

export interface StrainInput {
  readonly clock: Clock
  readonly logger: Logger
  readonly loop: { delay(): { readonly p99Ms: number } }
  readonly log: Pick<LogDriver, "isStalled" | "pending">
  readonly tally: Tally
  readonly roundTrips: RoundTrips
  /** p99 of the log's last writes. */
  writeP99Ms(): number
  nameOf(id: number): string
  /** The disk began to hang. */
  stalled(): void
}

export class Strain {
  readonly #input: StrainInput
  #wasStalled = false

  constructor(input: StrainInput) {
    this.#input = input
  }

  needs(now: number): readonly Need[] {
    const { loop, roundTrips } = this.#input
    const trips = roundTrips
      .view(now)
      .map(({ id, p99Ms }) => ({ what: `round trip to ${this.#input.nameOf(id)}`, p99Ms }))
    const { p99Ms } = loop.delay()
    return [{ what: "loop delay", p99Ms }, { what: "fsync", p99Ms: this.fsyncP99Ms() }, ...trips]
  }

  /** Of the last moments; what was slow an hour ago is not slow now. */
  fsyncP99Ms(): number {
    const { tally, clock } = this.#input
    return Math.min(tally.recentAppends.p99(clock.boottime()), this.#input.writeP99Ms())
  }

  /** Looked at with every tick: a leader whose disk hangs lets another one lead. */
  isDiskStalled(): boolean {
    const { log, logger, tally } = this.#input
    const isStalled = log.isStalled()
    if (isStalled && !this.#wasStalled) {
      tally.diskStalls++
      logger.warn("the log's disk hangs", { ...log.pending() })
      this.#input.stalled()
    }
    this.#wasStalled = isStalled
    return isStalled
  }
}
