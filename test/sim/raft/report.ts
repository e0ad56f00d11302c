/** A failure for somebody who reads it: made smaller, with what happened in the end. */
import { minimise, type Minimised } from "./minimise.ts"
import { weathers } from "./profile.ts"
import { type RunOptions, type RunResult, runSimulation } from "./run.ts"

const notesShown = 120

interface ReportOptions {
  readonly failed: RunOptions
  readonly result: RunResult
  readonly hasTime: () => boolean
}

export interface Report {
  readonly text: string
  /** The smaller run. Undefined: the failure did not come again. */
  readonly smaller: RunOptions | undefined
}

export function reportRun({ failed, result, hasTime }: ReportOptions): Report {
  const smaller = minimise(failed, { run: runSimulation, hasTime })
  const failure = result.failure ?? "it holds"
  if (!smaller) {
    return { text: `${failure}\n  it does not fail a second time`, smaller: undefined }
  }
  const { notes } = runSimulation({ ...smaller.options, isNoted: true })
  const lines = [
    failure,
    ...describeSmaller(result, smaller),
    ...describeEnd(notes, smaller.failure),
  ]
  return { text: lines.join("\n"), smaller: smaller.options }
}

/** What happened last, and what broke by it. */
export function describeEnd(notes: readonly string[], failure: string): readonly string[] {
  return [
    ...notes.slice(-notesShown).map((note) => `    ${note}`),
    `  ${failure.split("\n").join("\n  ")}`,
  ]
}

function describeSmaller(result: RunResult, { options, trials }: Minimised): string[] {
  const { events, steps, without = new Set() } = options
  const weather = weathers.filter((name) => !without.has(name))
  return [
    `  smaller: ${events.length} of ${result.events.length} events, ${steps} steps, in ${trials} runs; weather: ${weather.join(", ") || "none"}`,
    ...events.map(({ at, kind }) => `    ${at.toFixed(0).padStart(6)} ${kind}`),
    `  then:`,
  ]
}
