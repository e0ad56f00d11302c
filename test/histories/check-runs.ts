/** Everything that is checked of what clients saw: each key linearizable, and all runs together. */
import { checkHistory, describeFailure, type HistoryEvent } from "../lincheck/index.ts"
import type { AttemptSight, Page, RunCall, RunHistory, RunOutput } from "./calls.ts"
import { goesBack, needed } from "./looks.ts"
import { runModel } from "./run-model.ts"
import { fencesGrow, idsFollowTime, type KnownRun, knownRuns, pagesAreWhole } from "./whole.ts"

export interface RunsCheck {
  /** Sentences; none is right. */
  readonly faults: readonly string[]
  /** By any answer, by id. */
  readonly runs: ReadonlyMap<string, KnownRun>
  /** Calls that were put in order, the lines of pages included. */
  readonly calls: number
  readonly keys: number
}

const faultsMax = 20
/** One kind of fault must not hide the others. */
const backMax = 5

export function checkRuns(input: {
  readonly history: RunHistory
  readonly pages: readonly Page[]
  readonly attempts: Iterable<AttemptSight>
  /** What a time is, for the explanation. */
  readonly unit?: string
}): RunsCheck {
  const { history, pages, attempts, unit = "time" } = input
  const { runs, faults } = knownRuns(history, pages)
  const events = [...history, ...looksOf(pages)]
  const back = goesBack(events, unit)
  // Explained already; the search would only say it again.
  const clear = events.filter((event) => !back.has(event.input.key))
  const check = checkHistory(runModel, needed(clear))
  const told: string[] = [...back.values()].slice(0, backMax)
  if (check.verdict === "unknown") told.push("the work for ordering the calls ran out")
  if (check.failure) {
    told.push(`not linearizable: ${describeFailure(runModel, check.failure, { unit })}`)
  }
  const all = [
    ...told,
    ...faults,
    ...idsFollowTime(runs),
    ...pagesAreWhole(runs, pages),
    ...fencesGrow(attempts),
  ]
  const keys = new Set(events.map(({ input: { key } }) => key)).size
  return { faults: all.slice(0, faultsMax), runs, calls: events.length, keys }
}

/** Each line of a page is a look at that run. */
function looksOf(pages: readonly Page[]): HistoryEvent<RunCall, RunOutput>[] {
  return pages.flatMap(({ client, invokedAt, completedAt, items }) =>
    items.map(({ key, ...sight }) => ({
      op: "look" as const,
      input: { key },
      client,
      invokedAt,
      completedAt,
      output: { type: "seen" as const, sight },
    })),
  )
}
