/**
 * The search of Wing and Gong for an order of the calls that fits time and model, with Lowe's memory of the
 * configurations it has been in ("Testing for linearizability", 2016). A stack of frames, so any depth will do.
 *
 * Depth first over the calls that have an outcome. Only where no order goes on are calls without outcome let take
 * effect: first where the search came furthest, and there with the fewest of them, so that what few of them can do is
 * known before many are tried.
 */
import { Foresight } from "./foresight.ts"
import { Heap } from "./heap.ts"
import { type Configuration, Memo } from "./memo.ts"
import type { Call, HistoryEvent, Model } from "./model.ts"
import type { Timeline } from "./timeline.ts"

export type Verdict = "ok" | "bad" | "unknown"

/** What searches that share it may still cost: steps of the model, comparisons, configurations kept. */
export interface Budget {
  work: number
}

export interface SearchOptions {
  readonly budget: Budget
  /** A call whose answer is not foreseen, so that the states which it meets are met. */
  readonly last?: HistoryEvent<Call, unknown>
}

export interface SearchResult<State> {
  readonly verdict: Verdict
  /** The last completion that was reached, counted from 0 by time: all before it can be ordered. */
  readonly reached: number
  /** States in which it was reached (the first `statesMax`). */
  readonly states: readonly State[]
}

interface Frame<State> {
  readonly configuration: Configuration<State>
  /** Where to look on among the waiting calls: a slot. */
  slot: number
}

/** Keeping a configuration costs memory: about as much as so many steps cost time. */
const configurationCost = 100
/** States that a result lists. */
const statesMax = 9

export function search<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  timeline: Timeline<C, Output>,
  options: SearchOptions,
): SearchResult<State> {
  return new Search(model, timeline, options).run()
}

class Search<State extends {} | null, C extends Call, Output> {
  readonly #model: Model<State, C, Output>
  readonly #timeline: Timeline<C, Output>
  readonly #budget: Budget
  readonly #memo: Memo<State>
  readonly #foresight: Foresight<State, C, Output> | undefined
  readonly #last: number
  readonly #frames: Frame<State>[] = []
  /** Configurations from which calls without outcome were not tried yet. */
  readonly #blocked = new Heap<Configuration<State>>(
    (left, right) =>
      left.limit > right.limit || (left.limit === right.limit && left.usedCount < right.usedCount),
  )
  #isFound = false
  #reached = 0
  #states: State[] = []

  constructor(
    model: Model<State, C, Output>,
    timeline: Timeline<C, Output>,
    { budget, last }: SearchOptions,
  ) {
    this.#model = model
    this.#timeline = timeline
    this.#budget = budget
    this.#memo = new Memo(model)
    if (model.couldLeadTo) this.#foresight = new Foresight(model, timeline)
    this.#last = timeline.calls.findIndex((call) => call === last)
  }

  run(): SearchResult<State> {
    const { events, kinds, callsOfSlot } = this.#timeline
    const waiting = Array.from({ length: Math.ceil(callsOfSlot.length / 32) }, () => 0)
    const limit = this.#nextLimit(waiting, 0)
    const used = kinds.map(() => 0)
    this.#visit({ limit, waiting, state: this.#model.init, used, usedCount: 0, isLoose: false })
    const verdict = this.#verdict()
    const reached = events.slice(0, this.#reached).filter((event) => event < 0).length
    return { verdict, reached, states: this.#states }
  }

  #verdict(): Verdict {
    for (;;) {
      if (this.#isFound) return "ok"
      if (this.#budget.work <= 0) return "unknown"
      const frame = this.#frames.at(-1)
      if (frame) {
        this.#takeNext(frame)
        continue
      }
      const blocked = this.#blocked.pop()
      if (blocked === undefined) return "bad"
      this.#takeUnknown(blocked)
    }
  }

  /** Looks on from a configuration unless that was done before. */
  #visit(entered: Configuration<State>): void {
    const configuration = this.#withReads(entered)
    if (configuration.limit === this.#timeline.events.length) {
      this.#isFound = true
      return
    }
    if (configuration.isLoose && !this.#isOfUse(configuration)) {
      if (!this.#isHopeless(configuration)) this.#note(configuration)
      return
    }
    const comparisons = this.#memo.comparisons
    const isNew = this.#memo.add(configuration)
    this.#budget.work -= this.#memo.comparisons - comparisons
    if (!isNew) return
    this.#budget.work -= configurationCost + configuration.waiting.length
    if (this.#isHopeless(configuration)) return
    this.#note(configuration)
    this.#frames.push({ configuration, slot: 0 })
  }

  /**
   * Can a call that looks at the state come next, after one without outcome? Where a reset follows, the call without
   * outcome could as well not have happened, and that was tried already.
   */
  #isOfUse(at: Configuration<State>): boolean {
    const { isReset, kinds } = this.#timeline
    const isNext = (index: number): boolean =>
      !isReset[index] && this.#step(at.state, index) !== undefined
    return (
      this.#waitingCalls(at).some(isNext) ||
      kinds.some((kind, index) => !kind.isReset && this.#afterUnknown(at, index) !== undefined)
    )
  }

  /** Reads that fit are taken at once: they change nothing, so no other order could gain by their waiting. */
  #withReads(entered: Configuration<State>): Configuration<State> {
    let configuration = entered
    for (let slot = this.#waitingFrom(entered, 0); slot >= 0;) {
      const index = this.#callAt(slot, configuration.limit)
      const { limit } = configuration
      if (this.#timeline.isRead[index] && this.#step(configuration.state, index) !== undefined) {
        configuration = this.#after(configuration, index, configuration.state)
      }
      // A new limit lets new calls in, at any slot.
      slot = this.#waitingFrom(configuration, configuration.limit === limit ? slot + 1 : 0)
    }
    return configuration
  }

  #isHopeless(at: Configuration<State>): boolean {
    const foresight = this.#foresight
    if (!foresight) return false
    const isExcluded = (index: number): boolean => {
      this.#budget.work--
      return index !== this.#last && foresight.excludes(at, index, () => this.#waitingCalls(at))
    }
    const next = foresight.readAfter(at.limit)
    if (next !== undefined && isExcluded(next)) return true
    return this.#waitingCalls(at).some((index) => this.#timeline.isRead[index] && isExcluded(index))
  }

  #waitingCalls(at: Configuration<State>): number[] {
    const calls: number[] = []
    for (let slot = this.#waitingFrom(at, 0); slot >= 0; slot = this.#waitingFrom(at, slot + 1)) {
      calls.push(this.#callAt(slot, at.limit))
    }
    return calls
  }

  #takeNext(frame: Frame<State>): void {
    const { configuration } = frame
    const slot = this.#waitingFrom(configuration, frame.slot)
    if (slot < 0) {
      this.#frames.pop()
      this.#blocked.push(configuration)
      return
    }
    frame.slot = slot + 1
    const index = this.#callAt(slot, configuration.limit)
    if (configuration.isLoose && this.#timeline.isReset[index]) return
    const state = this.#step(configuration.state, index)
    if (state !== undefined) this.#visit(this.#after(configuration, index, state))
  }

  #takeUnknown(at: Configuration<State>): void {
    for (const [index, { invoked, isReset }] of this.#timeline.kinds.entries()) {
      // Kinds are sorted by their first call, so the later ones are not there yet either.
      if (invoked[0]! > at.limit) break
      if (at.isLoose && isReset) continue
      const state = this.#afterUnknown(at, index)
      if (state === undefined) continue
      // Copying the counts, and comparing them later, costs something too where there are many.
      this.#budget.work -= at.used.length >>> 4
      const used = at.used.with(index, at.used[index]! + 1)
      this.#visit({ ...at, state, used, usedCount: at.usedCount + 1, isLoose: true })
      if (this.#isFound || this.#budget.work <= 0) return
    }
  }

  /**
   * The state after a call without outcome, if there is one left of its kind. Of calls that act alike the earliest is
   * taken first: it can stand wherever a later one can.
   */
  #afterUnknown({ limit, state, used }: Configuration<State>, kind: number): State | undefined {
    const { call, invoked } = this.#timeline.kinds[kind]!
    const position = invoked[used[kind]!]
    if (position === undefined || position > limit) return undefined
    this.#budget.work--
    const next = this.#model.step(state, call, undefined)
    // A call that nobody waits for and that changes nothing need not have happened.
    return next === undefined || this.#model.equal(next, state) ? undefined : next
  }

  #step(state: State, index: number): State | undefined {
    this.#budget.work--
    const call = this.#timeline.calls[index]!
    return this.#model.step(state, call, call.output)
  }

  /** The configuration after a waiting call took its place. */
  #after(from: Configuration<State>, index: number, state: State): Configuration<State> {
    const waiting = from.waiting.slice()
    const slot = this.#timeline.slots[index]!
    waiting[slot >>> 5]! &= ~(1 << (slot & 31))
    const isLimit = this.#timeline.returned[index] === from.limit
    const limit = isLimit ? this.#nextLimit(waiting, from.limit + 1) : from.limit
    const { used, usedCount } = from
    return { limit, waiting, state, used, usedCount, isLoose: false }
  }

  /** The first return from a position on whose call waits; lets the calls invoked on the way in. */
  #nextLimit(waiting: number[], position: number): number {
    const { events, slots } = this.#timeline
    let limit = position
    for (; limit < events.length; limit++) {
      const event = events[limit]!
      const slot = slots[event < 0 ? ~event : event]!
      const bit = 1 << (slot & 31)
      if (event >= 0) waiting[slot >>> 5]! |= bit
      else if (waiting[slot >>> 5]! & bit) break
    }
    return limit
  }

  /** The first slot from one on with a waiting call, -1 where there is none. */
  #waitingFrom({ waiting }: Configuration<State>, slot: number): number {
    let index = slot >>> 5
    let word = (waiting[index] ?? 0) & (-1 << (slot & 31))
    while (word === 0) {
      if (++index >= waiting.length) return -1
      word = waiting[index]!
    }
    return 32 * index + 31 - Math.clz32(word & -word)
  }

  /** The waiting call of a slot: the last one there that was invoked before the limit. */
  #callAt(slot: number, limit: number): number {
    const calls = this.#timeline.callsOfSlot[slot]!
    let low = 0
    let high = calls.length - 1
    // Calls of one slot follow each other, so the first that returns at the limit or later is the one.
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#timeline.returned[calls[middle]!]! < limit) low = middle + 1
      else high = middle
    }
    return calls[low]!
  }

  #note(at: Configuration<State>): void {
    const { limit, state } = at
    if (limit < this.#reached) return
    if (limit > this.#reached) this.#states = []
    this.#reached = limit
    if (this.#states.length >= statesMax) return
    if (!this.#states.some((other) => this.#model.equal(other, state))) this.#states.push(state)
  }
}
