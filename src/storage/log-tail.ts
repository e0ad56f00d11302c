/** What the log amounts to after its records so far: the same rules for reading it back and for writing it. */
import type { Entry, HardState, LogMark, LogRecord } from "../wire/index.ts"

const emptyMark: LogMark = {
  index: 0,
  term: 0,
  confState: { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
}

/** State after the records so far, without the entries. */
export class LogTail {
  hardState: HardState = { term: 0, vote: 0, commit: 0 }
  mark: LogMark = emptyMark
  lastIndex = 0
  lastTerm = 0

  /** The record that opens a segment here. */
  start(): LogRecord {
    const { hardState, mark, lastIndex, lastTerm } = this
    return { kind: "start", hardState, mark, lastIndex, lastTerm }
  }

  /** Why this record may not come next; undefined when it may. */
  refusal(record: LogRecord): string | undefined {
    if (record.kind === "start") return this.#differs(record)
    if (record.kind === "mark") {
      const { index } = record.mark
      if (index < this.mark.index || index > this.lastIndex) {
        return `a mark at ${index} of a log from ${this.mark.index} to ${this.lastIndex}`
      }
      return undefined
    }
    return this.#refusedHardState(record.hardState) ?? this.#refusedEntries(record)
  }

  #differs(record: LogRecord & { kind: "start" }): string | undefined {
    const same =
      record.lastIndex === this.lastIndex &&
      record.lastTerm === this.lastTerm &&
      record.mark.index === this.mark.index &&
      record.hardState.term === this.hardState.term &&
      record.hardState.vote === this.hardState.vote &&
      record.hardState.commit === this.hardState.commit
    return same ? undefined : "a segment begins in another state than the one before ended"
  }

  #refusedHardState(next: HardState | undefined): string | undefined {
    if (!next) return undefined
    const { term, vote } = this.hardState
    if (next.term < term) return `term ${next.term} after term ${term}`
    if (next.term === term && vote !== 0 && next.vote !== vote) {
      return `a vote for ${next.vote} after one for ${vote} in term ${term}`
    }
    return undefined
  }

  #refusedEntries(record: LogRecord & { kind: "batch" }): string | undefined {
    const { snapshot, entries = [] } = record
    if (snapshot && snapshot.index < this.mark.index) {
      return `a snapshot at ${snapshot.index} of a log from ${this.mark.index}`
    }
    const mark = snapshot ?? this.mark
    const end = snapshot ? snapshot.index : this.lastIndex
    const first = entries[0]?.index
    if (first === undefined) return undefined
    if (!snapshot && first <= this.hardState.commit) {
      return `entries from ${first}, but those up to ${this.hardState.commit} are committed`
    }
    if (first <= mark.index || first > end + 1) {
      return `entries from ${first} in a log from ${mark.index} to ${end}`
    }
    let before: { index: number; term: number } | undefined
    if (first === end + 1) {
      before = snapshot ?? { index: this.lastIndex, term: this.lastTerm }
    }
    for (const entry of entries) {
      if (before && entry.index !== before.index + 1) {
        return `entry ${entry.index} after entry ${before.index}`
      }
      if (before && entry.term < before.term) {
        return `entry ${entry.index} of term ${entry.term} after one of term ${before.term}`
      }
      before = entry
    }
    return undefined
  }

  advance(record: LogRecord): void {
    if (record.kind === "start") {
      const { hardState, mark, lastIndex, lastTerm } = record
      Object.assign(this, { hardState, mark, lastIndex, lastTerm })
      return
    }
    if (record.kind === "mark") {
      this.mark = record.mark
      return
    }
    if (record.hardState) this.hardState = record.hardState
    if (record.snapshot) {
      this.mark = record.snapshot
      this.#end(record.snapshot)
    }
    const last = record.entries?.at(-1)
    if (last) this.#end(last)
  }

  #end(last: { index: number; term: number }): void {
    this.lastIndex = last.index
    this.lastTerm = last.term
  }
}

/** The highest live entry in each segment: which segments a mark lets go. */
export class SegmentTable {
  readonly #lastIndexes = new Map<number, number>()

  record(segment: number, record: LogRecord): void {
    if (!this.#lastIndexes.has(segment)) this.#lastIndexes.set(segment, 0)
    if (record.kind !== "batch") return
    const first = record.entries?.[0]?.index
    const keep = record.snapshot ? 0 : first === undefined ? undefined : first - 1
    if (keep !== undefined) {
      for (const [number, last] of this.#lastIndexes) {
        if (last > keep) this.#lastIndexes.set(number, keep)
      }
    }
    const last = record.entries?.at(-1)
    if (last) this.#lastIndexes.set(segment, last.index)
  }

  /** The first segment that is needed when entries up to `index` are not. Segments below it are forgotten. */
  dropThrough(index: number): number {
    const numbers = [...this.#lastIndexes.keys()]
    const first =
      numbers.find((number) => this.#lastIndexes.get(number)! > index) ?? numbers.at(-1)!
    for (const number of numbers) if (number < first) this.#lastIndexes.delete(number)
    return first
  }
}

/** Reads a log back, record by record. Each returns why the log cannot be right. */
export class Replay {
  readonly tail = new LogTail()
  readonly segments = new SegmentTable()
  #entries: Entry[] = []
  #began = false

  apply(segment: number, record: LogRecord): string | undefined {
    if (!this.#began && record.kind !== "start") return "a log that does not begin with its state"
    const refusal = this.#began ? this.tail.refusal(record) : undefined
    if (refusal !== undefined) return refusal
    this.#began = true
    this.tail.advance(record)
    this.segments.record(segment, record)
    if (record.kind === "mark") this.#drop(record.mark.index)
    if (record.kind === "batch") {
      if (record.snapshot) this.#entries = []
      const first = record.entries?.[0]
      if (first) this.#cut(first.index)
      for (const entry of record.entries ?? []) this.#entries.push(entry)
    }
    return undefined
  }

  /** The entries after the mark, or why there are none to trust. */
  finish(): readonly Entry[] | string {
    const { mark, lastIndex, hardState } = this.tail
    this.#drop(mark.index)
    const first = this.#entries[0]?.index ?? lastIndex + 1
    if (first !== mark.index + 1) {
      return `entries ${mark.index + 1} to ${first - 1} are missing`
    }
    if (hardState.commit > lastIndex) {
      return `entries up to ${hardState.commit} were committed, the log ends at ${lastIndex}`
    }
    return this.#entries
  }

  #cut(index: number): void {
    const first = this.#entries[0]?.index
    if (first !== undefined)
      this.#entries.length = Math.max(0, Math.min(index - first, this.#entries.length))
  }

  #drop(index: number): void {
    const first = this.#entries[0]?.index
    if (first !== undefined && first <= index) this.#entries.splice(0, index - first + 1)
  }
}
