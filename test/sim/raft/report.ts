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

export function describeRun({ failed, result, hasTime }: ReportOptions): string {
  const smaller = minimise(failed, { run: runSimulation, hasTime })
  const lines = [result.failure ?? "it holds"]
  if (!smaller) return [...lines, "  it does not fail a second time"].join("\n")
  const { notes } = runSimulation({ ...smaller.options, isNoted: true })
  return [
    ...lines,
    ...describeSmaller(result, smaller),
    ...notes.slice(-notesShown).map((note) => `    ${note}`),
    `  ${smaller.failure.split("\n").join("\n  ")}`,
  ].join("\n")
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
