/** Many streams become one, in the order of their times. Nobody waits for long, and a line is ended before another begins. */
import type { Lane, Stretch } from "./log-lane.ts"

/** What has come waits so long for what may be older. */
const holdMs = 400
/** A line that is not ended holds up the others for this long. */
const lineMs = 500

export type Merged =
  | { readonly stretch: Stretch; readonly lane: Lane }
  | { readonly waitMs: number }

export class Merge {
  readonly #lanes = new Set<Lane>()
  /** Since when its head waits. */
  readonly #waiting = new Map<Lane, number>()
  readonly #patient: boolean
  #speaker: { readonly lane: Lane; readonly at: number } | undefined

  /** `patient`: the past is read, so that order goes before haste. */
  constructor(options: { readonly patient: boolean }) {
    this.#patient = options.patient
  }

  get lanes(): ReadonlySet<Lane> {
    return this.#lanes
  }

  add(lane: Lane): void {
    this.#lanes.add(lane)
  }

  /** Those of which nothing more comes and all is said are let go. */
  sweep(): void {
    for (const lane of this.#lanes) {
      if (!lane.complete || lane.buffered > 0) continue
      this.#lanes.delete(lane)
      this.#waiting.delete(lane)
      if (this.#speaker?.lane === lane) this.#speaker = undefined
    }
  }

  /** The oldest head's time; what begins later need not be opened yet. */
  oldest(): number | undefined {
    return this.#first()?.head()?.at
  }

  /** `now`: boot-time clock. */
  next(now: number): Merged {
    const speaker = this.#speaker
    if (speaker?.lane.isInLine && !(speaker.lane.complete && speaker.lane.buffered === 0)) {
      if (speaker.lane.buffered > 0) return this.#say(speaker.lane, now)
      const left = speaker.at + lineMs - now
      if (left > 0 && !speaker.lane.away) {
        this.#waitingSince(this.#first(), now)
        return { waitMs: left }
      }
    }
    const first = this.#first()
    if (!first) return { waitMs: Number.POSITIVE_INFINITY }
    const { at } = first.head()!
    const since = this.#waitingSince(first, now)
    const left = this.#patient ? Number.POSITIVE_INFINITY : since + holdMs - now
    if (left > 0 && this.#isAwaited(at)) return { waitMs: left }
    return this.#say(first, now)
  }

  /** Whoever has something to say waits from then on, also while another ends its line. */
  #waitingSince(lane: Lane | undefined, now: number): number {
    const since = (lane && this.#waiting.get(lane)) ?? now
    if (lane) this.#waiting.set(lane, since)
    return since
  }

  #say(lane: Lane, now: number): Merged {
    const stretch = lane.take()
    this.#waiting.delete(lane)
    this.#speaker = { lane, at: now }
    return { stretch, lane }
  }

  #first(): Lane | undefined {
    let first: Lane | undefined
    let oldest = Number.POSITIVE_INFINITY
    for (const lane of this.#lanes) {
      const at = lane.buffered > 0 ? lane.head()!.at : Number.POSITIVE_INFINITY
      if (at >= oldest) continue
      oldest = at
      first = lane
    }
    return first
  }

  /** Something older than this may still come. */
  #isAwaited(at: number): boolean {
    for (const lane of this.#lanes) {
      if (!lane.complete && !lane.away && lane.buffered === 0 && lane.seenAt < at) return true
    }
    return false
  }
}
