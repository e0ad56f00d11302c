/** The model of a keyed run: written once by its first submit, cancelled once, and going forward by itself. */
import { hashText } from "../lincheck/hash-text.ts"
import type { Model } from "../lincheck/index.ts"
import { ranks, type RunCall, type RunOutput, type Sight } from "./calls.ts"

/**
 * A run goes on without being asked, so its progress is not known: only what was seen last, and that nothing goes back.
 * That makes each look a write of what it saw.
 */
export interface RunState {
  /** Undefined: there is none; "?": a submit that nobody answered made it. */
  readonly run: string | undefined
  readonly body: string
  readonly seen: Sight | undefined
  /** The first cancellation. It takes effect while the run is active; whether it did is seen later. */
  readonly cancel: string | undefined
  /** It is known that the first cancellation came too late, so every later one does. */
  readonly isTooLate: boolean
}

const unknownRun = "?"
const none: RunState = {
  run: undefined,
  body: "",
  seen: undefined,
  cancel: undefined,
  isTooLate: false,
}

function submitted(
  state: RunState,
  body: string,
  output: RunOutput | undefined,
): RunState | undefined {
  if (output === undefined) {
    return state.run === undefined ? { ...none, run: unknownRun, body } : state
  }
  if (output.type !== "accepted" && output.type !== "conflict") return undefined
  if (state.run === undefined) {
    // The nodes ask each other again when an answer is lost: then its own run may meet a request as an old one.
    return output.type === "accepted" ? { ...none, run: output.run, body } : undefined
  }
  const isConflict = output.type === "conflict"
  if (isConflict === (state.body === body)) return undefined
  if (!isConflict && !output.existing) return undefined
  return named(state, output.run)
}

function named(state: RunState, run: string): RunState | undefined {
  if (state.run === unknownRun) return { ...state, run }
  return state.run === run ? state : undefined
}

function cancelled(
  state: RunState,
  reason: string,
  output: RunOutput | undefined,
): RunState | undefined {
  if (state.run === undefined) {
    return output === undefined || output.type === "absent" ? state : undefined
  }
  if (output !== undefined && output.type !== "cancelling") return undefined
  return state.cancel === undefined && !state.isTooLate ? { ...state, cancel: reason } : state
}

function looked(state: RunState, output: RunOutput | undefined): RunState | undefined {
  if (output === undefined) return state
  if (output.type === "absent") return state.run === undefined ? state : undefined
  if (output.type !== "seen" || state.run === undefined) return undefined
  const { sight } = output
  const known = named(state, sight.run)
  if (known === undefined || !follows(sight, known)) return undefined
  // Over before any cancellation took effect: none ever will.
  const isTooLate = sight.cancelled === undefined && sight.state !== "active"
  return { ...known, seen: sight, isTooLate }
}

/** Whether a run in this state may be seen so. */
function follows(sight: Sight, { seen, cancel, isTooLate }: RunState): boolean {
  if (seen !== undefined && goesBack(seen, sight)) return false
  if (sight.cancelled !== undefined) return sight.cancelled === cancel && !isTooLate
  return cancel === undefined || sight.state !== "active"
}

function goesBack(before: Sight, after: Sight): boolean {
  if (before.cancelled !== undefined && after.cancelled !== before.cancelled) return true
  if (before.state === "finished") {
    return (
      after.state !== "finished" ||
      after.verdict !== before.verdict ||
      after.events !== before.events
    )
  }
  return ranks[after.state] < ranks[before.state] || after.events < before.events
}

function textOf({ run, body, seen, cancel, isTooLate }: RunState): string {
  const { state, events, verdict, cancelled: reason } = seen ?? {}
  return [run, body, state, events, verdict, reason, cancel, isTooLate].join("|")
}

function showSight({ run, state, events, verdict, cancelled: reason }: Sight): string {
  const parts = [run, state, `${events} events`, verdict, reason && `cancelled: ${reason}`]
  return parts.filter(Boolean).join(" ")
}

export const runModel: Model<RunState, RunCall, RunOutput> = {
  init: none,
  step(state, call, output) {
    if (call.op === "submit") return submitted(state, call.input.body, output)
    if (call.op === "cancel") return cancelled(state, call.input.reason, output)
    return looked(state, output)
  },
  hash: (state) => hashText(textOf(state)),
  equal: (left, right) => left === right || textOf(left) === textOf(right),
  partition: (call) => call.input.key,
  isRead: (_call, output) => output?.type === "absent",
  kind: (call) => JSON.stringify([call.op, call.input]),
  couldLeadTo(state, _call, output) {
    if (output === undefined) return true
    if (output.type === "absent") return state.run === undefined
    if (output.type !== "seen" || state.run === undefined) return true
    const { run } = output.sight
    if (state.run !== unknownRun && state.run !== run) return false
    return state.seen === undefined || !goesBack(state.seen, output.sight)
  },
  showState({ run, body, seen, cancel }) {
    if (run === undefined) return "no run"
    const shown = seen ? showSight(seen) : run
    return `${shown} (body ${body}${cancel === undefined ? "" : `, first cancelled by ${cancel}`})`
  },
  showCall(call) {
    if (call.op === "submit") return `submit ${call.input.key} body ${call.input.body}`
    if (call.op === "cancel") return `cancel ${call.input.key} ${call.input.reason}`
    return `look at ${call.input.key}`
  },
  showOutput(output) {
    if (output.type === "accepted") return `${output.run}${output.existing ? " existing" : " new"}`
    if (output.type === "conflict") return `conflict with ${output.run}`
    if (output.type === "seen") return showSight(output.sight)
    return output.type
  },
}
