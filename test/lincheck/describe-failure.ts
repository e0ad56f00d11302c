/** A bad history in words: which completion fits nowhere, what could have been, and the calls before it. */
import type { Failure } from "./explain.ts"
import type { Call, HistoryEvent, Model } from "./model.ts"

export interface DescribeOptions {
  /** What a time is, such as "line". */
  readonly unit?: string
  /** How many of the prefix's calls to show, the last ones. */
  readonly callsMax?: number
}

export function describeFailure<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  failure: Failure<State, C, Output>,
  options: DescribeOptions = {},
): string {
  const { unit = "time", callsMax = 12 } = options
  const { partition, prefix, last, isShortest } = failure
  const place = partition === "" ? "" : `key ${partition}: `
  const shortest = isShortest ? "" : " (perhaps earlier: the work for finding the shortest ran out)"
  const lines = [
    `${place}no order from ${unit} ${last.completedAt} on${shortest}`,
    `client ${last.client}: ${answered(model, last)}, ${possible(model, failure)}`,
  ]
  // Where some are left out, those under way are the interesting ones: they come last by completion.
  const sorted = prefix.toSorted(
    (left, right) => (left.completedAt ?? Infinity) - (right.completedAt ?? Infinity),
  )
  const shown = sorted.slice(-callsMax).toSorted((left, right) => left.invokedAt - right.invokedAt)
  const hidden = prefix.length - shown.length
  if (hidden > 0) lines.push(`… ${hidden} ${hidden === 1 ? "call" : "calls"} completed before`)
  for (const event of shown) {
    const mark = event.client === last.client && event.invokedAt === last.invokedAt ? "  <--" : ""
    const span = `${unit} ${event.invokedAt} to ${event.completedAt ?? "?"}`
    lines.push(
      `${span.padEnd(unit.length + 14)} client ${event.client}: ${answered(model, event)}${mark}`,
    )
  }
  return lines.join("\n")
}

function answered<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  event: HistoryEvent<C, Output>,
): string {
  const call = model.showCall(event)
  if (event.completedAt === undefined) return `${call}, no answer yet`
  return event.output === undefined ? call : `${call} = ${model.showOutput(event.output)}`
}

function possible<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  { states, hasAllStates }: Failure<State, C, Output>,
): string {
  if (states.length === 0) return "which fits nowhere"
  const could = states.map((state) => model.showState(state)).join(" or ")
  return hasAllStates
    ? `but the state before it could only be ${could}`
    : `but the state before it could be ${could}, or others that do not fit`
}
