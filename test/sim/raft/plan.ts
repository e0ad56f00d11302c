/** The events of a seed in order, without end. Each kind comes from a stream of its own: one less moves no other. */
import { type EventKind, eventKinds, type Profile } from "./profile.ts"
import { streamOf } from "./streams.ts"

export interface PlannedEvent {
  readonly at: number
  readonly kind: EventKind
  /** What the event draws its particulars from. */
  readonly dice: number
}

const diceLimit = 2 ** 32

export function* plannedEvents(seed: number, profile: Profile): Generator<PlannedEvent, undefined> {
  const kinds = eventKinds.filter((kind) => profile.every[kind] > 0)
  const sources = kinds.map((kind) => eventsOfKind(seed, kind, profile.every[kind]))
  const heads = sources.map((source) => source.next().value)
  while (heads.length > 0) {
    let first = 0
    for (const [place, event] of heads.entries()) {
      if (event.at < heads[first]!.at) first = place
    }
    yield heads[first]!
    heads[first] = sources[first]!.next().value
  }
  return undefined
}

function* eventsOfKind(
  seed: number,
  kind: EventKind,
  mean: number,
): Generator<PlannedEvent, never> {
  const random = streamOf(seed, `events ${kind}`)
  let at = 0
  for (;;) {
    at += random.next() * 2 * mean
    yield { at, kind, dice: random.below(diceLimit) }
  }
}
