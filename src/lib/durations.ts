/** Durations in bounded memory: how many fell into which bucket, of all time or of the last moments. */

/** Below this every microsecond-step has a bucket; above, each power of two has eight: a value is told 12 % too high at most. */
const exact = 16
const perPower = 8
const microsMax = 2 ** 31 - 1
const buckets = exact + (31 - 4) * perPower

function bucketOf(micros: number): number {
  if (micros < exact) return micros
  const power = 31 - Math.clz32(micros)
  return exact + (power - 4) * perPower + ((micros >>> (power - 3)) & (perPower - 1))
}

/** The largest value of a bucket, microseconds. */
function topOf(bucket: number): number {
  if (bucket < exact) return bucket
  const power = 4 + Math.floor((bucket - exact) / perPower)
  const part = (bucket - exact) % perPower
  return 2 ** power + (part + 1) * 2 ** (power - 3) - 1
}

class Slice {
  readonly counts = new Uint32Array(buckets)
  from = Number.NEGATIVE_INFINITY
  count = 0
  max = 0

  begin(from: number): void {
    if (this.count > 0) this.counts.fill(0)
    this.from = from
    this.count = 0
    this.max = 0
  }
}

export interface RecentOptions {
  /** How long a duration is remembered at least, ms. */
  readonly windowMs: number
  /** In how many steps it is forgotten. */
  readonly steps: number
  /** How many a whole window has, where they come regularly. */
  readonly expected?: number
}

/** The durations of the last moments, all in ms: `now` never runs back. */
export class RecentDurations {
  readonly #slices: readonly Slice[]
  readonly #stepMs: number
  #current = 0

  readonly #expected: number

  constructor({ windowMs, steps, expected = 100 }: RecentOptions) {
    this.#expected = expected
    this.#stepMs = windowMs / steps
    // One more than the window: the current one is not full.
    this.#slices = Array.from({ length: steps + 1 }, () => new Slice())
  }

  record(now: number, ms: number): void {
    const slice = this.#slice(now)
    const micros = Math.min(microsMax, Math.max(0, Math.round(ms * 1000)))
    const bucket = bucketOf(micros)
    slice.counts[bucket] = slice.counts[bucket]! + 1
    slice.count++
    slice.max = Math.max(slice.max, micros)
  }

  /** No more than the largest there was; 0 when nothing is remembered. */
  quantile(now: number, share: number): number {
    return this.#ranked(now, Math.max(1, Math.ceil(this.count(now) * share)))
  }

  #ranked(now: number, wanted: number): number {
    const recent = this.#recent(now)
    if (recent.length === 0) return 0
    const max = Math.max(...recent.map((slice) => slice.max))
    let seen = 0
    for (let bucket = 0; bucket < buckets; bucket++) {
      for (const slice of recent) seen += slice.counts[bucket]!
      if (seen >= wanted) return Math.min(topOf(bucket), max) / 1000
    }
    return max / 1000
  }

  /** As if the window were full, and what is missing were quick: a slow start is no p99. Fewer than ten tell nothing: 0. */
  p99(now: number): number {
    const count = this.count(now)
    const leftOut = Math.max(1, Math.floor(Math.max(count, this.#expected) / 100))
    return count < 10 || count <= leftOut ? 0 : this.#ranked(now, count - leftOut)
  }

  max(now: number): number {
    return Math.max(0, ...this.#recent(now).map((slice) => slice.max)) / 1000
  }

  count(now: number): number {
    return sum(this.#recent(now).map((slice) => slice.count))
  }

  #slice(now: number): Slice {
    const current = this.#slices[this.#current]!
    if (now < current.from + this.#stepMs) return current
    this.#current = (this.#current + 1) % this.#slices.length
    const next = this.#slices[this.#current]!
    next.begin(now)
    return next
  }

  #recent(now: number): readonly Slice[] {
    const oldest = now - this.#stepMs * this.#slices.length
    return this.#slices.filter((slice) => slice.count > 0 && slice.from > oldest)
  }
}

/** Counts by upper bound since the start, as Prometheus wants them. */
export class DurationCounts {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #count = 0
  #sum = 0

  /** Upper bounds in ms, rising. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = bounds.map(() => 0)
  }

  record(ms: number): void {
    this.#count++
    this.#sum += ms
    const place = this.#bounds.findIndex((bound) => ms <= bound)
    if (place >= 0) this.#counts[place]!++
  }

  /** Each bucket counts what is at or below its bound; `count` is the one without a bound. */
  view(): {
    readonly buckets: readonly { readonly atMostMs: number; readonly count: number }[]
    readonly count: number
    readonly sumMs: number
  } {
    let below = 0
    return {
      buckets: this.#bounds.map((atMostMs, place) => {
        below += this.#counts[place]!
        return { atMostMs, count: below }
      }),
      count: this.#count,
      sumMs: this.#sum,
    }
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
