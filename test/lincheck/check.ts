/** Is a history linearizable? Partition by partition; for a bad one the shortest beginning that is bad already. */
import { explain, type Failure } from "./explain.ts"
import type { Call, HistoryEvent, Model } from "./model.ts"
import { search, type Verdict } from "./search.ts"
import { createTimeline } from "./timeline.ts"

export interface CheckOptions {
  /**
   * What the check, and once more the explanation, may cost: steps of the model, comparisons, and a hundred for each
   * configuration kept. The default takes some seconds and some hundred megabytes.
   */
  readonly workMax?: number
}

export interface CheckResult<State extends {} | null, C extends Call, Output> {
  /** `unknown`: the work ran out before an order was found or excluded. */
  readonly verdict: Verdict
  readonly work: number
  /** Of the first bad partition. */
  readonly failure: Failure<State, C, Output> | undefined
}

const workMaxDefault = 100_000_000

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
    const result = search(model, createTimeline(model, events), { budget })
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
  const byInvocation = history.toSorted((left, right) => left.invokedAt - right.invokedAt)
  return Map.groupBy(byInvocation, (event) => model.partition?.(event) ?? "")
}
