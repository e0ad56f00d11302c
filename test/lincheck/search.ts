/**
 * The search of Wing and Gong for an order of the calls that fits time and model, with Lowe's memory of the
 * configurations it has been in ("Testing for linearizability", 2016). A stack of frames, so any depth will do.
 *
 * Depth first over the calls that have an outcome. Only where no order goes on are calls without outcome let take
 * effect: first where the search came furthest, and there with the fewest of them, so that what few of them can do is
 * known before many are tried.
 */
import { Heap } from "./heap.ts"
import { type Configuration, Memo } from "./memo.ts"
import type { Call, Model } from "./model.ts"
import type { Timeline } from "./timeline.ts"

export type Verdict = "ok" | "bad" | "unknown"

/** What searches that share it may still cost: steps of the model, comparisons, configurations kept. */
export interface Budget {
  work: number
}

export interface SearchResult<State> {
  readonly verdict: Verdict
  /** The last completion that was reached, counted from 0 by time; where `bad`, no order allows it. */
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
const configurationCost = 20
/** States that a result lists. */
export const statesMax = 8

export function search<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  timeline: Timeline<C, Output>,
  budget: Budget,
): SearchResult<State> {
  return new Search(model, timeline, budget).run()
}

class Search<State extends {} | null, C extends Call, Output> {
  readonly #model: Model<State, C, Output>
  readonly #timeline: Timeline<C, Output>
  readonly #budget: Budget
  readonly #isRead: readonly boolean[]
  readonly #memo: Memo<State>
  readonly #frames: Frame<State>[] = []
  /** Configurations from which calls without outcome were not tried yet. */
  readonly #blocked = new Heap<Configuration<State>>(
    (left, right) =>
      left.limit > right.limit || (left.limit === right.limit && left.usedCount < right.usedCount),
  )
  #isFound = false
  #reached = -1
  #states: State[] = []

  constructor(model: Model<State, C, Output>, timeline: Timeline<C, Output>, budget: Budget) {
    this.#model = model
    this.#timeline = timeline
    this.#budget = budget
    this.#isRead = timeline.calls.map((call) => model.isRead?.(call, call.output) ?? false)
    this.#memo = new Memo(model)
  }

  run(): SearchResult<State> {
    const { events, kinds, callsOfSlot } = this.#timeline
    const waiting = Array.from({ length: Math.ceil(callsOfSlot.length / 32) }, () => 0)
    const limit = this.#nextLimit(waiting, 0)
    const used = kinds.map(() => 0)
    this.#visit({ limit, waiting, state: this.#model.init, used, usedCount: 0 })
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
    const { limit, state } = configuration
    if (limit === this.#timeline.events.length) {
      this.#isFound = true
      return
    }
    const comparisons = this.#memo.comparisons
    const isNew = this.#memo.add(configuration)
    this.#budget.work -= this.#memo.comparisons - comparisons
    if (!isNew) return
    this.#budget.work -= configurationCost + configuration.waiting.length
    this.#note(limit, state)
    this.#frames.push({ configuration, slot: 0 })
  }

  /** Reads that fit are taken at once: they change nothing, so no other order could gain by their waiting. */
  #withReads(entered: Configuration<State>): Configuration<State> {
    let configuration = entered
    for (let slot = this.#waitingFrom(entered, 0); slot >= 0;) {
      const index = this.#callAt(slot, configuration.limit)
      const { limit } = configuration
      if (this.#isRead[index] && this.#step(configuration.state, index) !== undefined) {
        configuration = this.#after(configuration, index, configuration.state)
      }
      // A new limit lets new calls in, at any slot.
      slot = this.#waitingFrom(configuration, configuration.limit === limit ? slot + 1 : 0)
    }
    return configuration
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
    const state = this.#step(configuration.state, index)
    if (state !== undefined) this.#visit(this.#after(configuration, index, state))
  }

  /** Of calls that act alike the earliest is taken first: it can stand wherever a later one can. */
  #takeUnknown(configuration: Configuration<State>): void {
    const { limit, used, usedCount, state } = configuration
    for (const [index, { call, invoked }] of this.#timeline.kinds.entries()) {
      // Kinds are sorted by their first call, so the later ones are not there yet either.
      if (invoked[0]! > limit) break
      const position = invoked[used[index]!]
      if (position === undefined || position > limit) continue
      this.#budget.work--
      const next = this.#model.step(state, call, undefined)
      // A call that nobody waits for and that changes nothing need not have happened.
      if (next === undefined || this.#model.equal(next, state)) continue
      // Copying the counts, and comparing them later, costs something too where there are many.
      this.#budget.work -= used.length >>> 4
      const nowUsed = used.with(index, used[index]! + 1)
      this.#visit({ ...configuration, state: next, used: nowUsed, usedCount: usedCount + 1 })
      if (this.#isFound) return
    }
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
    return { limit, waiting, state, used: from.used, usedCount: from.usedCount }
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

  #note(limit: number, state: State): void {
    if (limit < this.#reached) return
    if (limit > this.#reached) this.#states = []
    this.#reached = limit
    if (this.#states.length >= statesMax) return
    if (!this.#states.some((other) => this.#model.equal(other, state))) this.#states.push(state)
  }
}
