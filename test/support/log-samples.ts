/** Entries, marks and small logs for tests of storage. */
import type { ConfState, Entry, HardState, LogMark } from "../../src/wire/index.ts"

export function confStateOf(...voters: number[]): ConfState {
  return { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
}

export function markAt(index: number, term = 1): LogMark {
  return { index, term, confState: confStateOf(1, 2, 3) }
}

export function entryAt(index: number, term = 1, dataBytes = 8): Entry {
  const data = new Uint8Array(dataBytes).fill((index % 255) + 1)
  return { index, term, type: "EntryNormal", data }
}

/** Entries first to last of a term. */
export function entriesOf(first: number, last: number, term = 1): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, offset) => entryAt(first + offset, term))
}

export function hardStateOf(term: number, vote: number, commit: number): HardState {
  return { term, vote, commit }
}

/** Index and term of each, to compare with. */
export function outline(entries: readonly Entry[]): string {
  return entries.map((entry) => `${entry.index}@${entry.term}`).join(" ")
}

/** No time passes. */
export const instantClock = {
  sleep: async () => {},
  boottime: () => 0,
}

/** The same numbers for the same seed (mulberry32). */
export function seeded(seed: number): { next(): number } {
  let state = seed >>> 0
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0
      let mixed = Math.imul(state ^ (state >>> 15), state | 1)
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
    },
  }
}
