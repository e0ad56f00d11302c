/** The clock of one replica: its ticks, its timeouts by what it measures, and what it does after it stood still. */
import type { Raft } from "../consensus/index.ts"
import type { Clock, Logger, Timer } from "../platform/index.ts"
import { type Need, type Pace, Patience } from "./patience.ts"
import type { Timing } from "./timing.ts"

export interface ReplicaPaceInput {
  readonly clock: Clock
  readonly logger: Logger
  readonly timing: Timing
  readonly raft: Pick<Raft, "tick" | "setElectionTicks" | "wake">
  /** A write has been pending for longer than an election timeout (C-24). */
  isDiskStalled(): boolean
  /** What this node sees things take, asked every second. */
  needs(now: number): readonly Need[]
  /** Runs `work` on the core and then the pump. */
  input(work: () => void): void
  /** Nothing ran here for so long that what was known is old (C-45). */
  woke(gapMs: number): void
}

const measureMs = 1000

export class ReplicaPace {
  readonly #input: ReplicaPaceInput
  readonly #patience: Patience
  #timer: Timer | undefined
  #lastAt = 0
  #measuredAt = Number.NEGATIVE_INFINITY
  #electionTicks: number
  /** Ticks since the start, those while the disk hung too. */
  ticks = 0
  /** How often nothing ran for too long, and how often the disk hung. */
  gaps = 0

  constructor(input: ReplicaPaceInput) {
    const { electionTicks, tickMs } = input.timing
    this.#input = input
    this.#electionTicks = electionTicks
    this.#patience = new Patience({ baseMs: electionTicks * tickMs })
  }

  get pace(): Pace {
    return this.#patience.pace
  }

  get electionTicks(): number {
    return this.#electionTicks
  }

  start(): void {
    const { clock, timing } = this.#input
    this.#lastAt = clock.boottime()
    this.#timer = clock.every(timing.tickMs, () => this.#tick())
  }

  stop(): void {
    this.#timer?.cancel()
  }

  /** Of other voters, as their leader hears it; true when the timeout grew. */
  hear(needs: readonly Need[]): boolean {
    return this.#measure(needs)
  }

  follow(pace: Pace): void {
    this.#patience.follow(pace)
    this.#apply()
  }

  lead(): void {
    this.#patience.lead(this.#input.clock.boottime())
    this.#apply()
  }

  #tick(): void {
    const { clock, timing, raft } = this.#input
    const now = clock.boottime()
    const gapMs = now - this.#lastAt - timing.tickMs
    this.#lastAt = now
    this.ticks++
    if (gapMs > this.pace.electionMs / 2) {
      // Ticks are counted, not timed: one late tick is one. But what was counted before the gap is old.
      this.gaps++
      this.#input.input(() => raft.wake())
      this.#input.woke(gapMs)
      return
    }
    if (now - this.#measuredAt >= measureMs) {
      this.#measuredAt = now
      this.#measure(this.#input.needs(now))
    }
    // A disk that hangs must not keep its leader in office nor make it a candidate (C-24).
    if (!this.#input.isDiskStalled()) this.#input.input(() => raft.tick())
  }

  #measure(needs: readonly Need[]): boolean {
    this.#patience.measure(this.#input.clock.boottime(), needs)
    return this.#apply()
  }

  #apply(): boolean {
    const { logger, timing, raft } = this.#input
    const { electionMs, reason } = this.pace
    const ticks = Math.ceil(electionMs / timing.tickMs)
    if (ticks === this.#electionTicks) return false
    const grew = ticks > this.#electionTicks
    this.#electionTicks = ticks
    this.#input.input(() => raft.setElectionTicks(ticks))
    logger.info("the election timeout changed", { electionMs, reason: reason || "as configured" })
    return grew
  }
}
