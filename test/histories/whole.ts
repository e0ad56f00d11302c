/** What must hold of all runs together, beside each one's own linearizability. Every function answers sentences; none is right. */
import type { AttemptSight, Page, RunHistory } from "./calls.ts"

/** A run's place in the log: `r-12.3` is the third further run of entry 12. */
function placeOf(run: string): readonly [number, number] {
  const [index, item] = run.slice(2).split(".")
  return [Number(index), Number(item ?? 0)]
}

function isOlder(left: string, right: string): boolean {
  const [leftIndex, leftItem] = placeOf(left)
  const [rightIndex, rightItem] = placeOf(right)
  return leftIndex === rightIndex ? leftItem < rightItem : leftIndex < rightIndex
}

function byAge(left: string, right: string): number {
  if (left === right) return 0
  return isOlder(left, right) ? -1 : 1
}

/** One run as all answers together tell it. */
export interface KnownRun {
  readonly run: string
  readonly key: string
  /** No request that could make it had left before. */
  readonly notBefore: number
  /** By then some answer had told of it. */
  knownAt: number
}

/** All runs that any answer named, and where two answers name different runs for one key, or one for two. */
export function knownRuns(
  history: RunHistory,
  pages: readonly Page[],
): { readonly runs: ReadonlyMap<string, KnownRun>; readonly faults: readonly string[] } {
  const firstSubmit = new Map<string, number>()
  for (const call of history) {
    if (call.op !== "submit") continue
    const before = firstSubmit.get(call.input.key) ?? Infinity
    firstSubmit.set(call.input.key, Math.min(before, call.invokedAt))
  }
  const runs = new Map<string, KnownRun>()
  const ofKey = new Map<string, string>()
  const faults = new Set<string>()
  const tell = (run: string, key: string, at: number): void => {
    const other = ofKey.get(key)
    if (other === undefined) ofKey.set(key, run)
    else if (other !== run) faults.add(`key ${key} is ${other} and ${run}`)
    const known = runs.get(run)
    if (known === undefined) {
      runs.set(run, { run, key, notBefore: firstSubmit.get(key) ?? Infinity, knownAt: at })
      return
    }
    if (known.key !== key) faults.add(`${run} is ${known.key} and ${key}`)
    known.knownAt = Math.min(known.knownAt, at)
  }
  for (const { input, output, completedAt } of history) {
    const run = output && runIn(output)
    if (run !== undefined && completedAt !== undefined) tell(run, input.key, completedAt)
  }
  for (const { items, completedAt } of pages) {
    for (const { run, key } of items) tell(run, key, completedAt)
  }
  for (const { run, key, notBefore } of runs.values()) {
    if (notBefore === Infinity) faults.add(`${run} has the key ${key}, which nobody submitted`)
  }
  return { runs, faults: [...faults] }
}

function runIn(output: NonNullable<RunHistory[number]["output"]>): string | undefined {
  if (output.type === "accepted" || output.type === "conflict") return output.run
  return output.type === "seen" ? output.sight.run : undefined
}

/** Ids are places in one log: what was known before another was asked for has the smaller one. */
export function idsFollowTime(runs: ReadonlyMap<string, KnownRun>): string[] {
  const faults: string[] = []
  let latest: KnownRun | undefined
  for (const known of [...runs.values()].toSorted((a, b) => byAge(a.run, b.run))) {
    if (latest !== undefined && known.knownAt < latest.notBefore) {
      faults.push(
        `${known.run} was known before ${latest.run} was asked for, and has the larger id`,
      )
    }
    if (latest === undefined || known.notBefore > latest.notBefore) latest = known
  }
  return faults
}

/** A page holds everything between its ends, whatever was known before it was asked for, and nothing of the future. */
export function pagesAreWhole(
  runs: ReadonlyMap<string, KnownRun>,
  pages: readonly Page[],
): string[] {
  const faults: string[] = []
  const all = [...runs.values()].toSorted((a, b) => byAge(a.run, b.run))
  for (const page of pages) {
    const { items, isWhole, client, invokedAt, completedAt } = page
    const name = `the list of client ${client} at ${invokedAt}`
    const ids = items.map(({ run }) => run)
    const isSorted = ids.every((run, place) => place === 0 || isOlder(run, ids[place - 1]!))
    if (!isSorted) faults.push(`${name} is not newest first, or names one twice`)
    const held = new Set(ids)
    const newest = ids[0]
    const oldest = isWhole ? undefined : ids.at(-1)
    for (const { run, knownAt, notBefore } of all) {
      if (held.has(run)) {
        if (notBefore > completedAt) faults.push(`${name} has ${run} before it was asked for`)
        continue
      }
      const isOnLaterPage = !isWhole && (oldest === undefined || isOlder(run, oldest))
      if (isOnLaterPage) continue
      if (knownAt < invokedAt) faults.push(`${name} lacks ${run}, which was known at ${knownAt}`)
      else if (newest !== undefined && isOlder(run, newest)) {
        faults.push(`${name} has ${newest} and lacks the older ${run}`)
      }
    }
  }
  return faults
}

/** Attempts of a task are numbered, their fences grow, and what an attempt is never changes. */
export function fencesGrow(attempts: Iterable<AttemptSight>): string[] {
  const faults = new Set<string>()
  const known = new Map<string, AttemptSight>()
  const ofTask = new Map<string, Map<number, AttemptSight>>()
  for (const attempt of attempts) {
    const { run, task, n, fence, node } = attempt
    const name = `${run}/${task}.${n}`
    const before = known.get(name)
    if (before === undefined) {
      known.set(name, attempt)
      const others = ofTask.get(`${run}/${task}`) ?? new Map<number, AttemptSight>()
      ofTask.set(`${run}/${task}`, others.set(n, attempt))
    } else if (before.fence !== fence || before.node !== node) {
      faults.add(`${name} is ${before.fence} at ${before.node} and ${fence} at ${node}`)
    }
  }
  for (const [name, tries] of ofTask) {
    const sorted = [...tries.values()].toSorted((a, b) => a.n - b.n)
    for (const [place, attempt] of sorted.entries()) {
      const before = sorted[place - 1]
      if (before && before.fence >= attempt.fence) {
        faults.add(
          `${name}: fence ${attempt.fence} of attempt ${attempt.n} is not above ${before.fence} of ${before.n}`,
        )
      }
    }
  }
  return [...faults]
}
