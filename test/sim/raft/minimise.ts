/** Makes a failure smaller: less weather, fewer steps, fewer events, as long as it fails in the same way. */
import type { PlannedEvent } from "./plan.ts"
import { type Weather, weathers } from "./profile.ts"
import type { RunOptions, RunResult } from "./run.ts"

export interface MinimiseOptions {
  readonly run: (options: RunOptions) => RunResult
  /** Called before each trial. */
  readonly hasTime: () => boolean
}

export interface Minimised {
  readonly options: RunOptions & { readonly events: readonly PlannedEvent[] }
  readonly failure: string
  /** Runs that it took. */
  readonly trials: number
}

/** What broke, without the numbers in which two runs differ. */
function kindOf(failure: string): string {
  const [first = ""] = failure.split("\n")
  return first.replace(/^seed \d+, step \d+: /, "").replaceAll(/\d+/g, "#")
}

/** Undefined: it does not fail (any more). */
export function minimise(
  options: RunOptions,
  { run, hasTime }: MinimiseOptions,
): Minimised | undefined {
  const first = run(options)
  if (first.failure === undefined) return undefined
  const kind = kindOf(first.failure)
  let best = { ...options, events: first.events }
  let failure = first.failure
  let trials = 1
  /** Keeps a smaller one that fails alike. */
  const isKept = (smaller: typeof best): boolean => {
    if (!hasTime()) return false
    trials++
    const result = run(smaller)
    if (result.failure === undefined || kindOf(result.failure) !== kind) return false
    best = { ...smaller, events: result.events }
    failure = result.failure
    return true
  }
  // A failure in the rough phase needs no more steps than it took.
  if (first.steps < options.steps) isKept({ ...best, steps: first.steps })
  for (let round = 0; round < 2 && hasTime(); round++) {
    for (const weather of weathers) dropWeather(weather)
    cutEvents()
  }
  return { options: best, failure, trials }

  function dropWeather(weather: Weather): void {
    if (best.without?.has(weather)) return
    isKept({ ...best, without: new Set([...(best.without ?? []), weather]) })
  }

  /** Zeller's delta debugging: leaves out halves, quarters, … and at last single events. */
  function cutEvents(): void {
    if (best.events.length > 0 && isKept({ ...best, events: [] })) return
    let parts = 2
    while (best.events.length > 0 && hasTime()) {
      const size = Math.ceil(best.events.length / parts)
      const isSmaller = hasSmaller(size)
      if (isSmaller) parts = Math.max(parts - 1, 2)
      else if (size <= 1) return
      else parts = Math.min(parts * 2, best.events.length)
    }
  }

  function hasSmaller(size: number): boolean {
    for (let at = 0; at < best.events.length; at += size) {
      if (isKept({ ...best, events: best.events.toSpliced(at, size) })) return true
    }
    return false
  }
}
