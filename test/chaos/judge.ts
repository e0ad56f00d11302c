/** Judges the record of a chaos run, while it is fresh or from its folder: faults in words, counts, and where to look. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { checkRuns, type RunCall, type RunOutput } from "../histories/index.ts"
import type { HistoryEvent } from "../lincheck/index.ts"
import { paint } from "./picture.ts"
import type { CallRecord, Record } from "./record.ts"

export interface Judgement {
  readonly faults: readonly string[]
  /** Runs that some client was told of. */
  readonly accepted: ReadonlySet<string>
  readonly keys: number
  /** Calls that were put in order. */
  readonly ordered: number
  /** Of the clients' calls, by op and how they ended. */
  readonly outcomes: ReadonlyMap<string, number>
  readonly pages: number
  readonly leaders: number
}

export function judge(records: readonly Record[]): Judgement {
  const calls = records.filter((record) => record.type === "call")
  const pages = records.filter((record) => record.type === "page")
  const attempts = records.filter((record) => record.type === "attempt")
  const history = calls.filter((record) => !isIdle(record)).map(eventOf)
  const check = checkRuns({ history, pages, attempts, unit: "µs" })
  const outcomes = new Map<string, number>()
  for (const { call, ending, isRefused, completedAt } of calls) {
    const kind = isRefused ? "refused" : completedAt === undefined ? "unknown" : "known"
    for (const name of [`${call.op} ${kind}`, `ending ${ending}`]) {
      outcomes.set(name, (outcomes.get(name) ?? 0) + 1)
    }
  }
  const terms = records.filter((record) => record.type === "leader").map(({ term }) => term)
  return {
    faults: check.faults,
    accepted: new Set(check.runs.keys()),
    keys: check.keys,
    ordered: check.calls,
    outcomes,
    pages: pages.length,
    leaders: new Set(terms).size,
  }
}

/** It did nothing and says nothing. */
function isIdle({ isRefused, call, completedAt }: CallRecord): boolean {
  return isRefused || (call.op === "look" && completedAt === undefined)
}

function eventOf(record: CallRecord): HistoryEvent<RunCall, RunOutput> {
  const { call, client, invokedAt, completedAt, output } = record
  return { ...call, client, invokedAt, completedAt, output }
}

/** The whole run, and each key that a fault names, as pictures beside the record. */
export function paintAll(
  directory: string,
  records: readonly Record[],
  input: { readonly title: string; readonly faults: readonly string[] },
): string[] {
  const { title, faults } = input
  const files = [join(directory, "run.svg")]
  writeFileSync(files[0]!, paint(records, { title }))
  const keys = new Set(
    faults.flatMap((fault) => [.../\bk\d+-\d+\b/g[Symbol.matchAll](fault)].map(String)),
  )
  for (const key of [...keys].slice(0, 4)) {
    const file = join(directory, `${key}.svg`)
    writeFileSync(file, paint(records, { title: `${title}: ${key}`, key }))
    files.push(file)
  }
  return files
}
