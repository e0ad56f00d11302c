/**
 * Looks at one run: nothing of it goes back, so what was seen is in order already. That finds stale reads at once, and
 * leaves few looks, with narrow times, to the search.
 */
import type { HistoryEvent } from "../lincheck/index.ts"
import type { RunCall, RunOutput } from "./calls.ts"
import { runModel } from "./run-model.ts"

type Event = HistoryEvent<RunCall, RunOutput>

/** A look that was answered with a run, and what counts on in it. */
interface Look {
  readonly event: Event
  readonly events: number
  readonly invokedAt: number
  readonly completedAt: number
}

function looksByKey(events: readonly Event[]): Map<string, Look[]> {
  const looks = new Map<string, Look[]>()
  for (const event of events) {
    const { op, input, output, invokedAt, completedAt } = event
    if (op !== "look" || output?.type !== "seen" || completedAt === undefined) continue
    const ofKey = looks.get(input.key) ?? []
    looks.set(input.key, ofKey)
    ofKey.push({ event, events: output.sight.events, invokedAt, completedAt })
  }
  return looks
}

/** By key: somebody had been told more before another asked and was told less. */
export function goesBack(events: readonly Event[], unit: string): ReadonlyMap<string, string> {
  const faults = new Map<string, string>()
  for (const [key, looks] of looksByKey(events)) {
    const byReturn = looks.toSorted((a, b) => a.completedAt - b.completedAt)
    let next = 0
    let most: Look | undefined
    for (const look of looks.toSorted((a, b) => a.invokedAt - b.invokedAt)) {
      for (; next < byReturn.length && byReturn[next]!.completedAt < look.invokedAt; next++) {
        const told = byReturn[next]!
        if (most === undefined || told.events > most.events) most = told
      }
      if (most === undefined || look.events >= most.events) continue
      faults.set(
        key,
        `not linearizable: key ${key}: ${inWords(look, unit)}, though before ${inWords(most, unit)}`,
      )
      break
    }
  }
  return faults
}

function inWords({ event, invokedAt, completedAt }: Look, unit: string): string {
  const seen = runModel.showOutput(event.output!)
  return `client ${event.client} saw ${seen} (${unit} ${invokedAt} to ${completedAt})`
}

/** The events without looks that say nothing new, and with the times that are left to those that do. */
export function needed(events: readonly Event[]): readonly Event[] {
  const kept: Event[] = []
  const looks = looksByKey(events)
  const isLook = new Set([...looks.values()].flat().map(({ event }) => event))
  for (const event of events) if (!isLook.has(event)) kept.push(event)
  for (const ofKey of looks.values()) kept.push(...narrowed(ofKey).map(one))
  return kept
}

/** Whoever saw less was there before whoever saw more. */
function narrowed(looks: readonly Look[]): readonly Look[] {
  const levels = Map.groupBy(
    looks.toSorted((a, b) => a.events - b.events),
    ({ events }) => events,
  )
  const inOrder = [...levels.values()]
  const earliest: number[] = []
  let after = -Infinity
  for (const level of inOrder) {
    earliest.push(after)
    after = Math.max(after, ...level.map(({ invokedAt }) => invokedAt))
  }
  let before = Infinity
  const result: Look[] = []
  for (const [place, level] of [...inOrder.entries()].toReversed()) {
    for (const look of level) {
      const invokedAt = Math.max(look.invokedAt, earliest[place]!)
      const completedAt = Math.min(look.completedAt, before)
      result.push({ ...look, invokedAt, completedAt })
    }
    before = Math.min(before, ...level.map(({ completedAt }) => completedAt))
  }
  return alike(result)
}

/**
 * The time in which a run is seen alike is one piece. Looks that saw the same all fit when that piece begins before the
 * first of them has returned and ends after the last has left: one look where those times overlap, else those two.
 */
function alike(looks: readonly Look[]): readonly Look[] {
  const groups = Map.groupBy(looks, ({ event }) => JSON.stringify(event.output))
  return [...groups.values()].flatMap((group) => {
    const first = group.reduce((a, b) => (b.completedAt < a.completedAt ? b : a))
    const last = group.reduce((a, b) => (b.invokedAt > a.invokedAt ? b : a))
    if (first === last) return [first]
    return last.invokedAt <= first.completedAt
      ? [{ ...first, invokedAt: last.invokedAt }]
      : [first, last]
  })
}

function one({ event, invokedAt, completedAt }: Look): Event {
  return { ...event, invokedAt, completedAt }
}
