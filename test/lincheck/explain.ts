/** Why a history is bad: its shortest beginning that is bad already, and what could have been at the end of it. */
import type { Call, HistoryEvent, Model } from "./model.ts"
import { search } from "./search.ts"
import { createTimeline } from "./timeline.ts"

export interface Failure<State extends {} | null, C extends Call, Output> {
  readonly partition: string
  /** The beginning, by invocation. What had not completed by its end stands there without outcome. */
  readonly prefix: readonly HistoryEvent<C, Output>[]
  /** The completion that ends the prefix: no order of the calls allows it. */
  readonly last: HistoryEvent<C, Output>
  /** States that could have been when `last` completed. */
  readonly states: readonly State[]
  /** False where there were too many states to find or list all. */
  readonly hasAllStates: boolean
  /** False where the work ran out: a shorter prefix may be bad too. */
  readonly isShortest: boolean
}

export interface BadPartition<C extends Call, Output> {
  readonly partition: string
  /** By invocation. */
  readonly events: readonly HistoryEvent<C, Output>[]
  /** How many completions the search that found it bad could surely order. */
  readonly reached: number
  readonly workMax: number
}

const statesMax = 8
/** Of the work for the whole: states are not worth more. */
const statesShare = 1 / 50

/**
 * A beginning of a linearizable history is linearizable, so the first bad one is found by halving. The search came to
 * `reached` knowing all answers; a beginning knows fewer, so the first bad one ends there or later.
 */
export function explain<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  { partition, events, reached, workMax }: BadPartition<C, Output>,
): Failure<State, C, Output> {
  const ends = events
    .filter(({ completedAt }) => completedAt !== undefined)
    .toSorted((left, right) => left.completedAt! - right.completedAt!)
  const budget = { work: workMax }
  let isShortest = true
  const end = firstOf({ from: reached, to: ends.length - 1 }, (tried) => {
    const { verdict } = search(model, createTimeline(model, prefixOf(events, ends, tried)), {
      budget,
    })
    if (verdict === "unknown") isShortest = false
    return verdict === "bad"
  })
  const prefix = prefixOf(events, ends, end)
  const last = ends[end]!
  const met = search(model, createTimeline(model, prefix), {
    budget: { work: workMax * statesShare },
    last,
  })
  // Only where the search came to the last completion are its states those that it met.
  const states = met.reached === end ? met.states : []
  const hasAllStates = met.verdict === "bad" && states.length <= statesMax
  return { partition, prefix, last, states: states.slice(0, statesMax), hasAllStates, isShortest }
}

/** The first number that is bad, where all after a bad one are and the last one is: near `from`, more likely than not. */
function firstOf(
  { from, to }: { readonly from: number; readonly to: number },
  isBad: (tried: number) => boolean,
): number {
  let low = from
  let high = from
  for (let stride = 1; high < to && !isBad(high); stride *= 2) {
    low = high + 1
    high = Math.min(high + stride, to)
  }
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBad(middle)) high = middle
    else low = middle + 1
  }
  return high
}

/** All up to one completion: later invocations are gone, later completions unknown. */
function prefixOf<C extends Call, Output>(
  events: readonly HistoryEvent<C, Output>[],
  ends: readonly HistoryEvent<C, Output>[],
  end: number,
): HistoryEvent<C, Output>[] {
  const kept = new Set(ends.slice(0, end + 1))
  const time = ends[end]!.completedAt!
  return events
    .filter(({ invokedAt }) => invokedAt <= time)
    .map((event) =>
      kept.has(event) ? event : { ...event, completedAt: undefined, output: undefined },
    )
}
