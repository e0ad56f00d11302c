/** The calls of one partition in the order of time: positions instead of times, slots for concurrent calls. */
import type { Call, HistoryEvent, Model } from "./model.ts"

/** Calls without outcome that act alike. */
export interface Kind<C extends Call> {
  readonly call: C
  /** Positions before which each was invoked, ascending. */
  readonly invoked: readonly number[]
  readonly isReset: boolean
}

/** Positions count the invocations and returns of calls that have an outcome. */
export interface Timeline<C extends Call, Output> {
  /** The calls with an outcome, by invocation. */
  readonly calls: readonly HistoryEvent<C, Output>[]
  /** By position: a call's index where it is invoked, the complement `~index` where it returns. */
  readonly events: readonly number[]
  /** By call: what the model says of it. */
  readonly isRead: readonly boolean[]
  readonly isReset: readonly boolean[]
  /** By call: the position of its return. */
  readonly returned: readonly number[]
  /** By call: two calls that overlap have different slots. */
  readonly slots: readonly number[]
  /** By slot: the calls that take it, one after the other. */
  readonly callsOfSlot: readonly (readonly number[])[]
  /** The calls without outcome, by their first invocation. */
  readonly kinds: readonly Kind<C>[]
}

interface Moment {
  readonly time: number
  readonly isReturn: boolean
  readonly event: number
}

export function createTimeline<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  history: readonly HistoryEvent<C, Output>[],
): Timeline<C, Output> {
  const calls: HistoryEvent<C, Output>[] = []
  const events: number[] = []
  const returned: number[] = []
  const slots: number[] = []
  const callsOfSlot: number[][] = []
  const freeSlots: number[] = []
  const kinds = new Map<string, { call: C; invoked: number[]; isReset: boolean }>()
  const indexOf = new Map<number, number>()
  for (const { event, isReturn } of momentsOf(history)) {
    const call = history[event]!
    if (isReturn) {
      const index = indexOf.get(event)!
      returned[index] = events.length
      freeSlots.push(slots[index]!)
      events.push(~index)
    } else if (call.completedAt === undefined) {
      const name = model.kind?.(call) ?? String(event)
      const kind = kinds.get(name)
      if (kind) kind.invoked.push(events.length)
      else
        kinds.set(name, { call, invoked: [events.length], isReset: model.isReset?.(call) ?? false })
    } else {
      const index = calls.push(call) - 1
      const slot = freeSlots.pop() ?? callsOfSlot.push([]) - 1
      indexOf.set(event, index)
      slots.push(slot)
      callsOfSlot[slot]!.push(index)
      returned.push(-1)
      events.push(index)
    }
  }
  return {
    calls,
    events,
    isRead: calls.map((call) => model.isRead?.(call, call.output) ?? false),
    isReset: calls.map((call) => model.isReset?.(call) ?? false),
    returned,
    slots,
    callsOfSlot,
    kinds: [...kinds.values()],
  }
}

function momentsOf(history: readonly HistoryEvent<Call, unknown>[]): Moment[] {
  const moments: Moment[] = []
  for (const [event, { invokedAt, completedAt }] of history.entries()) {
    if (Number.isNaN(invokedAt) || (completedAt !== undefined && !(completedAt >= invokedAt))) {
      throw new Error(`event ${event} completes at ${completedAt}, invoked at ${invokedAt}`)
    }
    moments.push({ time: invokedAt, isReturn: false, event })
    if (completedAt !== undefined) moments.push({ time: completedAt, isReturn: true, event })
  }
  return moments.toSorted(
    (left, right) => left.time - right.time || Number(left.isReturn) - Number(right.isReturn),
  )
}
