/** How long this node waits for its leader: never less than ten times what it has seen things take (DESIGN.md §5.6).
 *
 *  Heartbeats keep their pace, at least five in the shortest timeout; only timeouts change. What keeps a heartbeat away
 *  is its leader's event loop, the way, and the follower's event loop, so no voter's figure is its own affair: each tells
 *  its leader (in the answer to a lease), the leader takes the greatest and announces it (in the next lease), and a
 *  follower waits for the greater of that and its own. So no follower is more impatient than its leader knows, and a
 *  single delay has to be six times the p99, or two at once three times, before anybody misses five heartbeats. */

/** Something that took its time. */
export interface Need {
  /** Completes "p99": `loop delay`, `fsync`, `round trip to n2`. */
  readonly what: string
  readonly p99Ms: number
}

/** An election timeout: campaigns begin after once to twice this without a leader. */
export interface Pace {
  readonly electionMs: number
  /** Why it is longer than configured; empty when it is not. */
  readonly reason: string
}

export interface PatienceOptions {
  /** As configured: never less. */
  readonly baseMs: number
}

const factor = 10
/** A timeout changes in steps, so that figures that tremble do not move it. */
const stepMs = 100
/** It is raised at once, and lowered to the greatest need of a whole such time. */
const holdMs = 60_000
/** A disk that hangs for seconds must not make a silent leader stay for minutes. */
const ceiling = 10

export class Patience {
  readonly #base: Pace
  readonly #maxMs: number
  #held: Pace
  #heldUntil = Number.NEGATIVE_INFINITY
  /** The greatest need since then that was less than what is held. */
  #next: Pace
  #leaders: Pace

  constructor({ baseMs }: PatienceOptions) {
    this.#base = { electionMs: baseMs, reason: "" }
    this.#maxMs = ceiling * baseMs
    this.#held = this.#base
    this.#next = this.#base
    this.#leaders = this.#base
  }

  /** What counts now: the greater of the own and the leader's. */
  get pace(): Pace {
    return longer(this.#leaders, this.#held)
  }

  /** Notes what things take, of this node or, at a leader, of others too. */
  measure(now: number, needs: readonly Need[]): void {
    const wanted = needs.map((need) => this.#paceFor(need)).reduce(longer, this.#base)
    if (wanted.electionMs >= this.#held.electionMs) {
      this.#hold(now, wanted)
      return
    }
    this.#next = longer(this.#next, wanted)
    if (now >= this.#heldUntil) this.#hold(now, this.#next)
  }

  /** The leader's announcement, until its next one: also when it is lost. */
  follow(pace: Pace): void {
    const electionMs = Math.min(this.#maxMs, Math.max(this.#base.electionMs, pace.electionMs))
    this.#leaders = { electionMs, reason: pace.reason }
  }

  /** A new leader begins with what its predecessor asked for: there is no dip between the two. */
  lead(now: number): void {
    this.#hold(now, this.pace)
    this.#leaders = this.#base
  }

  #hold(now: number, pace: Pace): void {
    this.#held = pace
    this.#heldUntil = now + holdMs
    this.#next = this.#base
  }

  #paceFor({ what, p99Ms }: Need): Pace {
    const wanted = Math.ceil((factor * p99Ms) / stepMs) * stepMs
    if (wanted <= this.#base.electionMs) return this.#base
    const reason = `${factor} × p99 ${what} ${Math.round(p99Ms)} ms`
    if (wanted <= this.#maxMs) return { electionMs: wanted, reason }
    return { electionMs: this.#maxMs, reason: `${reason} would be more than is waited at most` }
  }
}

/** The first where both are the same. */
function longer(one: Pace, other: Pace): Pace {
  return other.electionMs > one.electionMs ? other : one
}
