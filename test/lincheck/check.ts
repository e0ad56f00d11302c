/** Is a history linearizable? Partition by partition; for a bad one the shortest beginning that is bad already. */
import type { Call, HistoryEvent, Model } from "./model.ts"
import { type Budget, search, type SearchResult, type Verdict } from "./search.ts"
import { createTimeline } from "./timeline.ts"

export interface CheckOptions {
  /**
   * What the check, and once more the explanation, may cost: steps of the model, comparisons, and twenty for each
   * configuration kept. The default takes some seconds and some hundred megabytes.
   */
  readonly workMax?: number
}

/** Why a history is bad. */
export interface Failure<State extends {} | null, C extends Call, Output> {
  readonly partition: string
  /** The beginning, by invocation. What had not completed by its end stands there without outcome. */
  readonly prefix: readonly HistoryEvent<C, Output>[]
  /** The completion that ends the prefix: no order of the calls allows it. */
  readonly last: HistoryEvent<C, Output>
  /** The states (some of them, where there are many) that could have been when `last` completed. */
  readonly states: readonly State[]
  /** False where the work ran out: a shorter prefix may be bad too. */
  readonly isShortest: boolean
}

export interface CheckResult<State extends {} | null, C extends Call, Output> {
  /** `unknown`: the work ran out before an order was found or excluded. */
  readonly verdict: Verdict
  readonly work: number
  /** Of the first bad partition. */
  readonly failure: Failure<State, C, Output> | undefined
}

const workMaxDefault = 20_000_000

export function checkHistory<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  history: readonly HistoryEvent<C, Output>[],
  options: CheckOptions = {},
): CheckResult<State, C, Output> {
  const { workMax = workMaxDefault } = options
  const budget = { work: workMax }
  // Small ones first: what a large one costs must not hide what a small one shows.
  const partitions = [...partitionsOf(model, history)].toSorted(
    ([, left], [, right]) => left.length - right.length,
  )
  let verdict: Verdict = "ok"
  for (const [partition, events] of partitions) {
    const result = search(model, createTimeline(model, events), budget)
    if (result.verdict === "bad") {
      const failure = explain(model, { partition, events, reached: result.reached, workMax })
      return { verdict: "bad", work: workMax - budget.work, failure }
    }
    if (result.verdict === "unknown") verdict = "unknown"
  }
  return { verdict, work: workMax - budget.work, failure: undefined }
}

function partitionsOf<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  history: readonly HistoryEvent<C, Output>[],
): Map<string, HistoryEvent<C, Output>[]> {
  return Map.groupBy(history, (event) => model.partition?.(event) ?? "")
}

interface BadPartition<C extends Call, Output> {
  readonly partition: string
  readonly events: readonly HistoryEvent<C, Output>[]
  readonly reached: number
  readonly workMax: number
}

/**
 * A beginning of a linearizable history is linearizable, so the first bad one is found by halving. The search came to
 * `reached` knowing all answers; a beginning knows fewer, so the first bad one ends there or (seldom) later.
 */
function explain<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  bad: BadPartition<C, Output>,
): Failure<State, C, Output> {
  const ends = bad.events
    .filter(({ completedAt }) => completedAt !== undefined)
    .toSorted((left, right) => left.completedAt! - right.completedAt!)
  const budget: Budget = { work: bad.workMax }
  const attempt = (
    end: number,
  ): { prefix: HistoryEvent<C, Output>[]; result: SearchResult<State> } => {
    const prefix = prefixOf(bad.events, ends, end)
    return { prefix, result: search(model, createTimeline(model, prefix), budget) }
  }
  let low = bad.reached
  let high = bad.reached
  let stride = 1
  let isShortest = true
  let found = attempt(high)
  while (found.result.verdict !== "bad" && high < ends.length - 1) {
    if (found.result.verdict === "unknown") isShortest = false
    low = high + 1
    high = Math.min(high + stride, ends.length - 1)
    stride *= 2
    found = attempt(high)
  }
  while (low < high) {
    const middle = (low + high) >>> 1
    const tried = attempt(middle)
    if (tried.result.verdict === "unknown") isShortest = false
    if (tried.result.verdict === "bad") {
      found = tried
      high = middle
    } else {
      low = middle + 1
    }
  }
  if (found.result.verdict !== "bad") isShortest = false
  const { prefix, result } = found
  return { partition: bad.partition, prefix, last: ends[high]!, states: result.states, isShortest }
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
    .toSorted((left, right) => left.invokedAt - right.invokedAt)
}
