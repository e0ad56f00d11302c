/** Sees that a configuration leads nowhere before its limit does: an answer ahead contradicts its state already. */
import type { Configuration } from "./memo.ts"
import type { Call, Model } from "./model.ts"
import type { Timeline } from "./timeline.ts"

export class Foresight<State extends {} | null, C extends Call, Output> {
  readonly #model: Model<State, C, Output>
  readonly #timeline: Timeline<C, Output>
  /** By position: how many resets with an outcome were invoked before. */
  readonly #resetsBefore: readonly number[]
  /** By position: the first read invoked there or later. */
  readonly #readFrom: readonly (number | undefined)[]

  constructor(model: Model<State, C, Output>, timeline: Timeline<C, Output>) {
    const { events, isRead, isReset } = timeline
    this.#model = model
    this.#timeline = timeline
    let resets = 0
    this.#resetsBefore = events.map((event) => (isReset[event] ? resets++ : resets))
    let read: number | undefined
    this.#readFrom = events
      .toReversed()
      .map((event) => (read = isRead[event] ? event : read))
      .toReversed()
  }

  /** The read that comes next, of those not invoked yet. */
  readAfter(limit: number): number | undefined {
    return this.#readFrom[limit]
  }

  /** Can the call, which has no place yet, never be answered as it was? `waiting` asks for the waiting calls. */
  excludes(from: Configuration<State>, index: number, waiting: () => readonly number[]): boolean {
    const { calls, returned, isReset, kinds } = this.#timeline
    const call = calls[index]!
    if (this.#model.couldLeadTo?.(from.state, call, call.output) ?? true) return false
    // A reset could come in between, if it was invoked before the call returned.
    const end = returned[index]!
    if (this.#resetsBefore[end]! > this.#resetsBefore[from.limit]!) return false
    if (waiting().some((other) => isReset[other])) return false
    return !kinds.some(({ invoked, isReset: isResetting }, kind) => {
      const position = invoked[from.used[kind]!]
      return isResetting && position !== undefined && position <= end
    })
  }
}
