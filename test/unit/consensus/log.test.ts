/** The log as the core sees it, partly in memory and partly on disk, against a plain array. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { createMemoryStorage, emptyConfState, type Entry } from "../../../src/consensus/index.ts"
import { RaftLog } from "../../../src/consensus/log.ts"
import { entry } from "./member.ts"

type Move =
  | { readonly kind: "append"; readonly count: number; readonly term: number }
  | {
      readonly kind: "overwrite"
      readonly back: number
      readonly count: number
      readonly term: number
    }
  | { readonly kind: "commit"; readonly by: number }
  | { readonly kind: "hand out" | "write" | "apply" }
  | { readonly kind: "compact"; readonly back: number }
  | { readonly kind: "restore"; readonly ahead: number; readonly term: number }

const count = fc.integer({ min: 1, max: 4 })
const term = fc.nat(2)
const moves = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("append" as const), count, term }),
    fc.record({ kind: fc.constant("overwrite" as const), back: fc.nat(5), count, term }),
    fc.record({ kind: fc.constant("commit" as const), by: fc.nat(4) }),
    fc.record({ kind: fc.constantFrom("hand out" as const, "write" as const, "apply" as const) }),
    fc.record({ kind: fc.constant("compact" as const), back: fc.nat(3) }),
    fc.record({ kind: fc.constant("restore" as const), ahead: count, term }),
  ),
  { maxLength: 50 },
)

/** The log, its disk, and what they should hold. */
class Pair {
  readonly storage = createMemoryStorage({
    mark: { index: 1, term: 1, confState: { ...emptyConfState, voters: [1] } },
  })
  readonly log = new RaftLog(this.storage, { maxApplyingSize: Infinity, trace: undefined })
  /** Entries after `base`. */
  entries: Entry[] = []
  base = { index: 1, term: 1 }
  committed = 1
  applied = 1
  #newest = 1
  #writes: (() => void)[] = []
  /** As the core does: writes of an earlier term say nothing of entries (B-30). */
  #epoch = 0

  get last(): number {
    return this.base.index + this.entries.length
  }

  termAt(index: number): number {
    return index === this.base.index
      ? this.base.term
      : this.entries[index - this.base.index - 1]!.term
  }

  #fresh(from: number, move: { readonly count: number; readonly term: number }): Entry[] {
    this.#newest += move.term
    return Array.from({ length: move.count }, (_, place) => entry(from + place, this.#newest))
  }

  do(move: Move): void {
    const { log } = this
    switch (move.kind) {
      case "append": {
        const fresh = this.#fresh(this.last + 1, move)
        this.entries.push(...fresh)
        expect(log.append(fresh)).toBe(this.last)
        break
      }
      case "overwrite": {
        const from = Math.max(this.committed + 1, this.last + 1 - move.back)
        const fresh = this.#fresh(from, { count: move.count, term: move.term + 1 })
        const previous = { index: from - 1, term: this.termAt(from - 1) }
        this.entries = [...this.entries.slice(0, from - this.base.index - 1), ...fresh]
        this.#epoch++
        expect(log.maybeAppend(previous, fresh, 0)).toBe(this.last)
        break
      }
      case "commit":
        this.committed = Math.min(this.last, this.committed + move.by)
        log.commitTo(this.committed)
        break
      case "hand out":
        this.#handOut()
        break
      case "write":
        this.#writes.shift()?.()
        break
      case "apply":
        this.#apply()
        break
      case "compact":
        this.#compact(move.back)
        break
      case "restore":
        this.#restore(move)
    }
  }

  #handOut(): void {
    const { unstable } = this.log
    const entries = unstable.nextEntries()
    const snapshot = unstable.nextSnapshot()
    unstable.accept()
    const last = this.log.last()
    const epoch = this.#epoch
    this.#writes.push(() => {
      if (snapshot) this.storage.applySnapshot(snapshot)
      this.storage.append(entries)
      if (epoch === this.#epoch) unstable.stableTo(last.index, last.term)
      if (!snapshot) return
      unstable.stableSnapshotTo(snapshot.meta.index)
      this.applied = Math.max(this.applied, snapshot.meta.index)
      this.log.appliedTo(this.applied, 0)
    })
  }

  #apply(): void {
    const entries = this.log.nextCommitted(false)
    this.log.acceptApplying(entries, false)
    for (const { index, term: own } of entries) {
      expect(index).toBe(++this.applied)
      expect(own).toBe(this.termAt(index))
    }
    if (entries.length > 0) this.log.appliedTo(this.applied, 0)
  }

  #compact(back: number): void {
    const index = Math.min(this.applied, this.storage.lastIndex()) - back
    if (this.log.hasSnapshotPending() || index <= this.base.index) return
    this.storage.compact({ index })
    this.base = { index, term: this.termAt(index) }
    this.entries = this.entries.filter((kept) => kept.index > index)
  }

  #restore(move: { readonly ahead: number; readonly term: number }): void {
    if (this.log.hasSnapshotPending()) return
    this.#newest += move.term
    this.base = { index: this.last + move.ahead, term: this.#newest }
    this.entries = []
    this.committed = this.base.index
    this.#epoch++
    this.log.restore({
      meta: { ...this.base, confState: emptyConfState },
      data: new Uint8Array(0),
    })
  }

  check(): void {
    const { log } = this
    expect(log.lastIndex()).toBe(this.last)
    expect(log.committed).toBe(this.committed)
    expect(log.term(this.last + 1)).toBe("unavailable")
    expect(log.last()).toEqual({ index: this.last, term: this.termAt(this.last) })
    for (let index = this.base.index + 1; index <= this.last; index++) {
      expect(log.matches(index, this.termAt(index))).toBe(true)
      expect(log.matches(index, this.termAt(index) + 1)).toBe(false)
    }
    const all = log.slice(log.firstIndex(), this.last + 1, Infinity)
    if (all === "compacted") throw new Error("what is there reads as compacted")
    // The disk may still have what the compaction was allowed to drop.
    expect(all.slice(all.length - this.entries.length)).toEqual(this.entries)
  }
}

test("C-13, C-31, B-30: appended, overwritten, compacted, restored, written late: the log reads as it should", () => {
  fc.assert(
    fc.property(moves, (all) => {
      const pair = new Pair()
      for (const move of all) {
        pair.do(move)
        pair.check()
      }
    }),
    { numRuns: 400 },
  )
})

test("C-13: a conflict with what is committed is never taken", () => {
  const { log } = new Pair()
  log.append([entry(2, 1), entry(3, 1)])
  log.commitTo(2)
  const wrong = [entry(2, 2), entry(3, 2)]
  expect(() => log.maybeAppend({ index: 1, term: 1 }, wrong, 0)).toThrow("committed")
  expect(() => log.append([entry(2, 2)])).toThrow("committed")
  expect(log.matches(2, 1)).toBe(true)
})

test("C-01: which log is newer: the last term first, then the length, for all pairs", () => {
  const end = fc.record({ index: fc.nat(9), term: fc.nat(9) })
  fc.assert(
    fc.property(fc.nat(5), fc.nat(5), end, (length, added, other) => {
      const { log } = new Pair()
      for (let place = 0; place < length; place++) log.append([entry(2 + place, 1 + added)])
      const own = log.last()
      const isNewer = other.term === own.term ? other.index >= own.index : other.term > own.term
      expect(log.isUpToDate(other)).toBe(isNewer)
    }),
  )
})

test("C-16: where logs may meet: the last entry whose term is no later, for every question", () => {
  const terms = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 12 })
  fc.assert(
    fc.property(terms, fc.nat(14), fc.nat(8), (drawn, index, asked) => {
      const { log } = new Pair()
      const sorted = drawn.toSorted((left, right) => left - right)
      for (const [place, own] of sorted.entries()) log.append([entry(2 + place, own)])
      const at = Math.min(index, log.lastIndex())
      const found = log.findConflictByTerm(at, asked)
      const all = [0, 1, ...sorted]
      let expected = at
      while (expected > 0 && all[expected]! > asked) expected--
      expect(found.index).toBe(expected)
    }),
  )
})
